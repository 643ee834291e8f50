#include "protocol/curve.h"

#include "common/error.h"
#include "protocol/wire_socket.h"

#include <zmq.h>

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace nabla {

namespace {

constexpr std::size_t kKeyText = 40, kKeyBytes = 32;
// ZMQ_ZAP_ENFORCE_DOMAIN: part of the library, but in its header among the drafts.
constexpr int kEnforceDomain = 93;

void set_text(void* socket, int option, const std::string& value) {
  // Keys are given with their terminating zero.
  if (zmq_setsockopt(socket, option, value.c_str(), value.size() + 1) != 0)
    throw failure("[keys] this ZeroMQ library does not take CURVE keys: {}", zmq_strerror(errno));
}

void set_flag(void* socket, int option) {
  const int on = 1;
  if (zmq_setsockopt(socket, option, &on, sizeof on) != 0)
    throw failure("[keys] this ZeroMQ library cannot use CURVE: {}", zmq_strerror(errno));
}

// What a TCP connection has brought, by the kernel's count; 0 for any other descriptor.
std::uint64_t bytes_of(int descriptor) {
  tcp_info info{};
  socklen_t size = sizeof info;
  return ::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_bytes_received : 0;
}

HandshakeWatch::Outcome outcome_of(std::uint16_t event, std::uint32_t value) {
  using enum HandshakeWatch::Outcome;
  switch (event) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
      return kSucceeded;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
      return kKeyRefused;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
      return value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH ? kOtherMechanism : kBrokenOff;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
      return kBrokenOff;
    default:
      return kNone;
  }
}

// Where a socket's events are read.
void* open_monitor(const WireContext& context, void* socket, int events) {
  static std::atomic<std::uint64_t> number{0};  // names of monitors are of the context, and a context may have several
  const std::string address = fmt::format("inproc://events-{}", ++number);
  void* reader = zmq_socket(context.handle(), ZMQ_PAIR);
  const int no_linger = 0;
  if (reader != nullptr) zmq_setsockopt(reader, ZMQ_LINGER, &no_linger, sizeof no_linger);
  if (reader != nullptr && zmq_socket_monitor(socket, address.c_str(), events) == 0 && zmq_connect(reader, address.c_str()) == 0)
    return reader;
  const int code = errno;
  if (reader != nullptr) zmq_close(reader);
  throw failure("[fleet] cannot watch a connection: {}", zmq_strerror(code));
}

struct MonitorEvent {
  std::uint16_t number = 0;
  std::uint32_t value = 0;
};

// The next event; nothing if there is none.
std::optional<MonitorEvent> next_event(void* reader) {
  std::array<char, 64> event{};
  std::array<char, 256> address{};
  if (zmq_recv(reader, event.data(), event.size(), ZMQ_DONTWAIT) < 0) return std::nullopt;
  MonitorEvent result;
  std::memcpy(&result.number, event.data(), sizeof result.number);
  std::memcpy(&result.value, event.data() + sizeof result.number, sizeof result.value);
  zmq_recv(reader, address.data(), address.size(), ZMQ_DONTWAIT);
  return result;
}

}  // namespace

KeyPair make_key_pair() {
  std::array<char, kKeyText + 1> public_key{}, secret_key{};
  if (zmq_curve_keypair(public_key.data(), secret_key.data()) != 0)
    throw failure("[keys] this ZeroMQ library cannot make CURVE keys: {}", zmq_strerror(errno));
  return {public_key.data(), secret_key.data()};
}

std::optional<std::string> public_key_of(const std::string& secret_key) {
  std::array<char, kKeyText + 1> public_key{};
  if (!is_curve_key(secret_key) || zmq_curve_public(public_key.data(), secret_key.c_str()) != 0) return std::nullopt;
  return public_key.data();
}

bool is_curve_key(const std::string& text) {
  std::array<std::uint8_t, kKeyBytes> bytes{};
  return text.size() == kKeyText && text.find('\0') == std::string::npos && zmq_z85_decode(bytes.data(), text.c_str()) != nullptr;
}

std::string fingerprint_of(const std::string& public_key) { return public_key.substr(0, 10); }

void require_curve(void* socket, const KeyPair& server) {
  set_flag(socket, ZMQ_CURVE_SERVER);
  set_text(socket, ZMQ_CURVE_SECRETKEY, server.secret_key);
  const std::string domain = "nabla";
  zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, domain.data(), domain.size());
  set_flag(socket, kEnforceDomain);
}

void use_curve(void* socket, const ActorKeys& actor) {
  set_text(socket, ZMQ_CURVE_SERVERKEY, actor.server_public_key);
  set_text(socket, ZMQ_CURVE_PUBLICKEY, actor.pair.public_key);
  set_text(socket, ZMQ_CURVE_SECRETKEY, actor.pair.secret_key);
}

HandshakeWatch::HandshakeWatch(const WireContext& context, void* socket)
    : watched_(socket),
      events_(open_monitor(context, socket,
                           ZMQ_EVENT_CONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                               ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)) {}

HandshakeWatch::~HandshakeWatch() {
  zmq_socket_monitor(watched_, nullptr, 0);
  zmq_close(events_);
}

HandshakeWatch::Outcome HandshakeWatch::take() {
  Outcome newest = Outcome::kNone;
  while (const auto event = next_event(events_)) {
    if (event->number == ZMQ_EVENT_CONNECTED) {
      descriptor_ = static_cast<int>(event->value);
      passed_ = false;
    }
    if (event->number == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
      of_handshake_ = bytes_of(descriptor_);
      passed_ = true;
    }
    if (const Outcome outcome = outcome_of(event->number, event->value); outcome != Outcome::kNone) newest = outcome;
  }
  return newest;
}

std::uint64_t HandshakeWatch::bytes_received() const { return passed_ ? bytes_of(descriptor_) - of_handshake_ : 0; }

ArrivalWatch::ArrivalWatch(const WireContext& context, void* socket)
    : watched_(socket), events_(open_monitor(context, socket, ZMQ_EVENT_ACCEPTED)) {}

ArrivalWatch::~ArrivalWatch() {
  zmq_socket_monitor(watched_, nullptr, 0);
  zmq_close(events_);
}

std::vector<int> ArrivalWatch::take() {
  std::vector<int> descriptors;
  while (const auto event = next_event(events_)) {
    if (event->number == ZMQ_EVENT_ACCEPTED) descriptors.push_back(static_cast<int>(event->value));
  }
  return descriptors;
}

}  // namespace nabla
