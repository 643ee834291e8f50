#include "protocol/zap.h"

#include "common/error.h"
#include "common/log.h"
#include "protocol/curve.h"
#include "protocol/wire_socket.h"

#include <zmq.h>

#include <cerrno>
#include <string>
#include <vector>

namespace nabla {

namespace {

// Frames of a request: routing id of the asking socket, empty, then these.
enum Part : std::size_t { kVersion = 2, kRequest, kDomain, kAddress, kIdentity, kMechanism, kCredentials };

// One message; nothing if there is none.
std::vector<std::string> receive_frames(void* socket) {
  std::vector<std::string> frames;
  for (bool more = true; more;) {
    zmq_msg_t message;
    zmq_msg_init(&message);
    if (zmq_msg_recv(&message, socket, ZMQ_DONTWAIT) < 0) break;
    frames.emplace_back(static_cast<const char*>(zmq_msg_data(&message)), zmq_msg_size(&message));
    more = zmq_msg_more(&message) != 0;
    zmq_msg_close(&message);
  }
  return frames;
}

void send_frames(void* socket, const std::vector<std::string>& frames) {
  for (std::size_t i = 0; i < frames.size(); ++i)
    zmq_send(socket, frames[i].data(), frames[i].size(), ZMQ_DONTWAIT | (i + 1 < frames.size() ? ZMQ_SNDMORE : 0));
}

// The public key that a request comes with; empty if it comes with none.
std::string key_of(const std::vector<std::string>& request) {
  if (request.size() != kCredentials + 1 || request[kVersion] != "1.0" || request[kMechanism] != "CURVE") return "";
  const std::string& bytes = request[kCredentials];
  char text[41];
  if (bytes.size() != 32) return "";
  return zmq_z85_encode(text, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()) == nullptr ? "" : text;
}

}  // namespace

ZapHandler::ZapHandler(const WireContext& context) : handle_(zmq_socket(context.handle(), ZMQ_ROUTER)) {
  const int no_linger = 0;
  if (handle_ != nullptr) zmq_setsockopt(handle_, ZMQ_LINGER, &no_linger, sizeof no_linger);
  if (handle_ != nullptr && zmq_bind(handle_, "inproc://zeromq.zap.01") == 0) return;
  const int code = errno;
  if (handle_ != nullptr) zmq_close(handle_);
  throw failure("[fleet] cannot check keys: {}", zmq_strerror(code));
}

ZapHandler::~ZapHandler() { zmq_close(handle_); }

ZapHandler::Answers ZapHandler::answer_all(const AllowList& allowed) {
  Answers answers;
  for (auto request = receive_frames(handle_); !request.empty(); request = receive_frames(handle_)) {
    if (request.size() <= kRequest) continue;
    const std::string key = key_of(request);
    const bool known = !key.empty() && allowed.name_of(key).has_value();
    ++(known ? answers.let_in : answers.refused);
    if (!known) {
      log_debug("refused a connection from {}: key {}", request.size() > kAddress ? request[kAddress] : "", fingerprint_of(key));
    }
    send_frames(handle_, {request[0], "", "1.0", request[kRequest], known ? "200" : "400", known ? "" : "not in the allow-list",
                          known ? key : "", ""});
  }
  return answers;
}

}  // namespace nabla
