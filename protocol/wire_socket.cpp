#include "protocol/wire_socket.h"

#include "common/crc32c.h"
#include "common/error.h"
#include "common/network_address.h"

#include <zmq.h>

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace nabla {

static_assert(std::endian::native == std::endian::little, "messages are little-endian and written as they stand in memory");

namespace {

constexpr std::uint32_t kEnvelopeMagic = 0x3146424E;  // "NBF1"
// Below this a copy is cheaper than a shared owner.
constexpr std::size_t kCopyBytes = 1024;

struct Envelope {
  std::uint32_t magic = kEnvelopeMagic;
  std::uint8_t type = 0;
  std::uint8_t num_frames = 0;  // body and data
  std::uint16_t reserved = 0;
  std::uint64_t request = 0;
  std::uint32_t body_crc32c = 0, data_crc32c = 0;
  std::uint32_t reserved_too = 0;
  std::uint32_t envelope_crc32c = 0;  // of the bytes before it
};
static_assert(sizeof(Envelope) == kEnvelopeBytes);

std::uint32_t checksum_of(const Envelope& envelope) {
  return crc32c(std::as_bytes(std::span(&envelope, 1)).first(sizeof envelope - sizeof envelope.envelope_crc32c));
}

bool is_known(std::uint8_t value) {
  const auto type = static_cast<MessageType>(value);
  return (type >= MessageType::kHello && type <= kLastOfActor) || (type >= MessageType::kWelcome && type <= kLastOfLearner);
}

// A received frame. Its memory is the library's own; views share it.
class Frame {
 public:
  Frame() { zmq_msg_init(&message_); }
  ~Frame() { zmq_msg_close(&message_); }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  bool receive(void* socket) { return zmq_msg_recv(&message_, socket, ZMQ_DONTWAIT) >= 0; }
  bool has_more() const { return zmq_msg_more(&message_) != 0; }
  // A property of the connection; empty if it has none of that name.
  std::string property(const char* name) {
    const char* value = zmq_msg_gets(&message_, name);
    return value == nullptr ? "" : value;
  }
  int descriptor() const { return zmq_msg_get(&message_, ZMQ_SRCFD); }
  std::span<const std::byte> view() { return {static_cast<const std::byte*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)}; }

 private:
  zmq_msg_t message_;
};

// Small frames lie anywhere in the library's receive buffer; tensors of them must be readable in place, so those are copied.
Bytes share(const std::shared_ptr<Frame>& frame) {
  const auto view = frame->view();
  if (reinterpret_cast<std::uintptr_t>(view.data()) % 8 == 0) return {frame, view};
  auto copy = std::make_shared<std::vector<std::byte>>(view.begin(), view.end());
  return {copy, *copy};
}

void release_owner(void*, void* owner) { delete static_cast<std::shared_ptr<const void>*>(owner); }

bool send_frame(void* socket, std::span<const std::byte> bytes, const std::shared_ptr<const void>& owner, int flags) {
  zmq_msg_t message;
  if (bytes.size() < kCopyBytes || owner == nullptr) {
    if (zmq_msg_init_size(&message, bytes.size()) != 0) throw std::bad_alloc();
    if (!bytes.empty()) std::memcpy(zmq_msg_data(&message), bytes.data(), bytes.size());
  } else {
    auto* keeper = new std::shared_ptr<const void>(owner);
    zmq_msg_init_data(&message, const_cast<std::byte*>(bytes.data()), bytes.size(), release_owner, keeper);
  }
  if (zmq_msg_send(&message, socket, flags | ZMQ_DONTWAIT) >= 0) return true;
  zmq_msg_close(&message);
  return false;
}

void set_option(void* socket, int option, int value) { zmq_setsockopt(socket, option, &value, sizeof value); }

// libzmq takes over the socket file of a living process without a word, so that one is asked for first.
bool answers(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = ::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(descriptor);
  return connected;
}

void check_bindable(const std::string& address, Reach reach) {
  if (address.starts_with("ipc://")) {
    const std::string path = address.substr(6);
    if (path.size() > 107)
      throw network_error("[fleet] cannot listen on '{}': socket paths end at 107 bytes, this one has {}", address, path.size());
    if (answers(path)) throw network_error("[fleet] cannot listen on '{}': the address is in use by another process", address);
    return;
  }
  if (!address.starts_with("tcp://")) throw network_error("[fleet] cannot listen on '{}': expected ipc://PATH or tcp://HOST:PORT", address);
  if (reach == Reach::kEverybody || is_loopback(address)) return;
  throw usage_error(
      "[fleet] '{}' is open to other machines and there are no keys to tell friend from stranger; make some (nabla keys new --dir KEYS "
      "server) "
      "and set security.keys=KEYS, listen on a loopback address, or say --insecure",
      address);
}

}  // namespace

Received read_envelope(std::span<const std::byte> frame, std::size_t frames_behind, WireMessage& message) {
  Envelope envelope;
  if (frame.size() != sizeof envelope) return Received::kMalformed;
  std::memcpy(&envelope, frame.data(), sizeof envelope);
  if (envelope.envelope_crc32c != checksum_of(envelope)) return Received::kDamaged;
  const bool sound = envelope.magic == kEnvelopeMagic && envelope.num_frames == frames_behind && envelope.reserved == 0 &&
                     envelope.reserved_too == 0 && is_known(envelope.type);
  if (!sound) return Received::kMalformed;
  message.type = static_cast<MessageType>(envelope.type);
  message.request = envelope.request;
  message.body_crc32c = envelope.body_crc32c;
  message.data_crc32c = envelope.data_crc32c;
  return Received::kMessage;
}

WireContext::WireContext() : handle_(zmq_ctx_new()) {
  if (handle_ == nullptr) throw failure("[fleet] cannot start ZeroMQ: {}", std::strerror(errno));
}

WireContext::~WireContext() {
  while (zmq_ctx_term(handle_) != 0 && errno == EINTR) {
  }
}

WireSocket::WireSocket(const WireContext& context, SocketKind kind, std::size_t max_frame_bytes)
    : handle_(zmq_socket(context.handle(), kind == SocketKind::kRouter ? ZMQ_ROUTER : ZMQ_DEALER)), kind_(kind) {
  if (handle_ == nullptr) throw failure("[fleet] cannot make a socket: {}", std::strerror(errno));
  const auto max_size = static_cast<std::int64_t>(max_frame_bytes);
  zmq_setsockopt(handle_, ZMQ_MAXMSGSIZE, &max_size, sizeof max_size);
  set_option(handle_, ZMQ_LINGER, 0);
  // A backstop only: an actor has two requests under way at most, and the learner reserves memory by tickets.
  set_option(handle_, ZMQ_RCVHWM, 16);
  set_option(handle_, ZMQ_SNDHWM, 64);
  // Who opens a connection and does not get on with the handshake holds a descriptor and no more, and not for long.
  set_option(handle_, ZMQ_HANDSHAKE_IVL, 5000);
  set_option(handle_, ZMQ_BACKLOG, 1024);
  // A machine that vanished says nothing more; its connection ends after a minute.
  set_option(handle_, ZMQ_TCP_KEEPALIVE, 1);
  set_option(handle_, ZMQ_TCP_KEEPALIVE_IDLE, 30);
  set_option(handle_, ZMQ_TCP_KEEPALIVE_INTVL, 10);
  set_option(handle_, ZMQ_TCP_KEEPALIVE_CNT, 3);
}

WireSocket::~WireSocket() { zmq_close(handle_); }

void WireSocket::set_linger(std::chrono::milliseconds linger) { set_option(handle_, ZMQ_LINGER, static_cast<int>(linger.count())); }

void WireSocket::bind(const std::string& address, Reach reach) {
  check_bindable(address, reach);
  if (zmq_bind(handle_, address.c_str()) == 0) return;
  if (errno == EADDRINUSE) {
    throw network_error(
        "[fleet] cannot listen on '{}': the address is in use by another process; choose another port, or '*' for a free one", address);
  }
  throw network_error("[fleet] cannot listen on '{}': {}", address, zmq_strerror(errno));
}

void WireSocket::connect(const std::string& address) {
  if (zmq_connect(handle_, address.c_str()) == 0) return;
  throw network_error("[fleet] cannot connect to '{}': {}; expected ipc://PATH or tcp://HOST:PORT", address, zmq_strerror(errno));
}

std::string WireSocket::endpoint() const {
  std::array<char, 512> text{};
  std::size_t size = text.size();
  if (zmq_getsockopt(handle_, ZMQ_LAST_ENDPOINT, text.data(), &size) != 0)
    throw failure("[fleet] a socket has no address: {}", zmq_strerror(errno));
  return text.data();
}

bool WireSocket::send(const WireMessage& message) {
  Envelope envelope;
  envelope.type = static_cast<std::uint8_t>(message.type);
  envelope.num_frames = message.data.view.data() == nullptr ? 1 : 2;
  envelope.request = message.request;
  envelope.body_crc32c = message.body_crc32c;
  envelope.data_crc32c = message.data_crc32c;
  envelope.envelope_crc32c = checksum_of(envelope);
  if (kind_ == SocketKind::kRouter && !send_frame(handle_, std::as_bytes(std::span(message.peer)), nullptr, ZMQ_SNDMORE)) return false;
  if (!send_frame(handle_, std::as_bytes(std::span(&envelope, 1)), nullptr, ZMQ_SNDMORE)) return false;
  const bool has_data = envelope.num_frames == 2;
  if (!send_frame(handle_, message.body.view, message.body.owner, has_data ? ZMQ_SNDMORE : 0)) return false;
  return !has_data || send_frame(handle_, message.data.view, message.data.owner, 0);
}

bool WireSocket::send_frames(const std::vector<Bytes>& frames) {
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (!send_frame(handle_, frames[i].view, frames[i].owner, i + 1 < frames.size() ? ZMQ_SNDMORE : 0)) return false;
  }
  return true;
}

Received WireSocket::receive(WireMessage& message) {
  std::vector<std::shared_ptr<Frame>> frames;
  std::size_t num_frames = 0;
  for (bool more = true; more; ++num_frames) {
    auto frame = std::make_shared<Frame>();
    if (!frame->receive(handle_)) return Received::kNothing;
    more = frame->has_more();
    // A message of ours has at most 4 frames; of a longer one the rest is read and dropped.
    if (num_frames < 4) frames.push_back(std::move(frame));
  }
  message = {};
  std::size_t first = 0;
  if (kind_ == SocketKind::kRouter) {
    const auto id = frames[first++]->view();
    message.peer.assign(reinterpret_cast<const char*>(id.data()), id.size());
  }
  // Of the last frame that was kept: the routing id itself is the library's and has no properties.
  message.key = frames.back()->property("User-Id");
  message.descriptor = frames.back()->descriptor();
  const std::size_t parts = num_frames - first;
  if (parts < 2 || parts > 3) return Received::kMalformed;
  const Received verdict = read_envelope(frames[first]->view(), parts - 1, message);
  if (verdict != Received::kMessage) return verdict;
  message.body = share(frames[first + 1]);
  if (parts == 3) message.data = share(frames[first + 2]);
  return Received::kMessage;
}

WakeUp::WakeUp() : descriptor_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (descriptor_ < 0) throw failure("[fleet] cannot make an eventfd: {}", std::strerror(errno));
}

WakeUp::~WakeUp() { ::close(descriptor_); }

void WakeUp::signal() {
  const std::uint64_t one = 1;
  // Fails only when it is signalled already.
  [[maybe_unused]] const auto written = ::write(descriptor_, &one, sizeof one);
}

void WakeUp::clear() {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto read_bytes = ::read(descriptor_, &count, sizeof count);
}

void wait_readable(std::span<void* const> sockets, const WakeUp* wake_up, std::chrono::milliseconds timeout) {
  std::array<zmq_pollitem_t, 8> items{};
  int count = 0;
  for (void* socket : sockets) {
    if (socket != nullptr) items.at(static_cast<std::size_t>(count++)) = {socket, 0, ZMQ_POLLIN, 0};
  }
  if (wake_up != nullptr) items.at(static_cast<std::size_t>(count++)) = {nullptr, wake_up->descriptor(), ZMQ_POLLIN, 0};
  zmq_poll(items.data(), count, timeout.count());
}

void wait_readable(const WireSocket* first, const WireSocket* second, const WakeUp* wake_up, std::chrono::milliseconds timeout) {
  const std::array<void*, 2> sockets{first == nullptr ? nullptr : first->handle(), second == nullptr ? nullptr : second->handle()};
  wait_readable(sockets, wake_up, timeout);
}

}  // namespace nabla
