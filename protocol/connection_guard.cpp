#include "protocol/connection_guard.h"

#include "common/error.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace nabla {

namespace {

constexpr std::chrono::milliseconds kWatchEvery{20}, kWatchStrangersEvery{2};
// The library ends a handshake that takes longer.
constexpr std::chrono::seconds kHandshakeTime{6};
constexpr std::uint64_t kMaxUnheard = 64;
// What a server sends before a handshake is done: a greeting of 64 bytes and a WELCOME of 170 (RFC 23 and 26), or an ERROR of 12 behind them. Its READY is longer.
constexpr std::uint64_t kRepliesBeforeReady = 270;

// The bytes of the address at one end of a TCP connection; empty if it is none.
std::string address_of(int descriptor, int (*ask)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (ask(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  if (address.ss_family != AF_INET && address.ss_family != AF_INET6) return "";
  return {reinterpret_cast<const char*>(&address), size};
}

std::string far_end(int descriptor) {
  return address_of(descriptor, [](int socket, sockaddr* address, socklen_t* size) { return ::getpeername(socket, address, size); });
}

std::uint16_t near_port(int descriptor) {
  const std::string address =
      address_of(descriptor, [](int socket, sockaddr* end, socklen_t* size) { return ::getsockname(socket, end, size); });
  if (address.size() < sizeof(sockaddr_in)) return 0;
  // The port stands at the same place in both families.
  sockaddr_in start{};
  std::memcpy(&start, address.data(), sizeof start);
  return ntohs(start.sin_port);
}

tcp_info traffic_of(int descriptor) {
  tcp_info info{};
  socklen_t size = sizeof info;
  ::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size);
  return info;
}

// This side has not ended it. The numbers are the kernel's states ESTABLISHED and CLOSE_WAIT, which linux/tcp.h does not name.
bool is_open(const tcp_info& traffic) { return traffic.tcpi_state == 1 || traffic.tcpi_state == 8; }

}  // namespace

ConnectionGuard::ConnectionGuard(std::vector<std::uint16_t> ports, bool has_keys, const ConnectionLimits& limits)
    : ports_(std::move(ports)), has_keys_(has_keys), limits_(limits), descriptors_(nullptr, ::closedir) {
  std::erase(ports_, 0);  // of ipc
  if (ports_.empty()) return;
  descriptors_.reset(::opendir("/proc/self/fd"));
  if (!descriptors_) throw failure("[fleet] cannot watch connections: /proc/self/fd: {}", std::strerror(errno));
}

std::chrono::milliseconds ConnectionGuard::interval() const {
  if (ports_.empty()) return std::chrono::milliseconds::max();
  return strangers_.empty() ? kWatchEvery : kWatchStrangersEvery;
}

std::vector<ConnectionGuard::Seen> ConnectionGuard::connections_here() {
  std::vector<Seen> seen;
  if (!descriptors_) return seen;
  ::rewinddir(descriptors_.get());
  while (const dirent* item = ::readdir(descriptors_.get())) {
    if (item->d_name[0] == '.') continue;
    const int descriptor = std::atoi(item->d_name);
    if (std::ranges::count(ports_, near_port(descriptor)) == 0) continue;
    // A listening socket has no far end.
    if (std::string address = far_end(descriptor); !address.empty()) seen.push_back({descriptor, std::move(address)});
  }
  return seen;
}

const std::string* ConnectionGuard::note(int descriptor, const std::string& routing, const std::string& key) {
  if (descriptor < 0 || ports_.empty()) return nullptr;
  Connection& connection = known_[descriptor];
  const bool is_new = connection.routing != routing || connection.key != key;
  if (is_new) connection = {routing, key, far_end(descriptor)};
  ++connection.messages;
  return is_new ? &connection.address : nullptr;
}

bool ConnectionGuard::is_excessive(const Seen& seen) {
  const tcp_info traffic = traffic_of(seen.descriptor);
  if (!is_open(traffic)) return false;  // it was ended, and the library has not closed it yet
  const auto found = known_.find(seen.descriptor);
  // A descriptor that was closed and given to somebody else has another address at its far end.
  const bool is_known = found != known_.end() && found->second.address == seen.address;
  if (!is_known) {
    const bool is_stranger = has_keys_ && traffic.tcpi_bytes_acked < kRepliesBeforeReady;
    return traffic.tcpi_bytes_received > (is_stranger ? limits_.stranger_bytes : limits_.message_bytes);
  }
  Connection& connection = found->second;
  if (connection.counted_messages == connection.messages)
    return traffic.tcpi_bytes_received - connection.counted_bytes > limits_.message_bytes;
  connection.counted_messages = connection.messages;
  connection.counted_bytes = traffic.tcpi_bytes_received;
  return false;
}

void ConnectionGuard::note_unheard(int descriptor) {
  const auto found = known_.find(descriptor);
  if (found != known_.end() && ++found->second.unheard == kMaxUnheard) end_connection(descriptor);
}

void ConnectionGuard::note_arrival(int descriptor, std::chrono::steady_clock::time_point now) {
  if (has_keys_) strangers_.push_back({descriptor, now + kHandshakeTime});
}

std::vector<int> ConnectionGuard::listeners() {
  std::vector<int> all;
  if (!descriptors_) return all;
  ::rewinddir(descriptors_.get());
  while (const dirent* item = ::readdir(descriptors_.get())) {
    const int descriptor = std::atoi(item->d_name);
    int listens = 0;
    socklen_t size = sizeof listens;
    if (item->d_name[0] == '.' || ::getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) continue;
    if (std::ranges::count(ports_, near_port(descriptor)) > 0) all.push_back(descriptor);
  }
  return all;
}

// One look at each that has not passed the handshake yet.
std::size_t ConnectionGuard::watch_strangers(std::chrono::steady_clock::time_point now) {
  std::size_t ended = 0;
  std::erase_if(strangers_, [&](const Stranger& stranger) {
    if (now > stranger.until || std::ranges::count(ports_, near_port(stranger.descriptor)) == 0) return true;
    const tcp_info traffic = traffic_of(stranger.descriptor);
    if (traffic.tcpi_bytes_acked >= kRepliesBeforeReady) return true;
    if (traffic.tcpi_bytes_received <= limits_.stranger_bytes) return false;
    end_connection(stranger.descriptor);
    ++ended;
    return true;
  });
  const auto done = std::chrono::steady_clock::now();
  next_strangers_ = done + std::max<std::chrono::steady_clock::duration>(kWatchStrangersEvery, 49 * (done - now));
  return ended;
}

std::size_t ConnectionGuard::watch(std::chrono::steady_clock::time_point now) {
  std::size_t ended = 0;
  if (!strangers_.empty() && now >= next_strangers_) ended += watch_strangers(now);
  if (ports_.empty() || now < next_) return ended;
  for (const Seen& seen : connections_here()) {
    if (!is_excessive(seen)) continue;
    end_connection(seen.descriptor);
    ++ended;
  }
  const auto end = std::chrono::steady_clock::now();
  next_ = end + std::max<std::chrono::steady_clock::duration>(kWatchEvery, 49 * (end - now));
  return ended;
}

void ConnectionGuard::end_revoked(const std::function<bool(const std::string& key)>& may_stay) {
  for (const Seen& seen : connections_here()) {
    const auto found = known_.find(seen.descriptor);
    if (found != known_.end() && found->second.address == seen.address && !may_stay(found->second.key)) end_connection(seen.descriptor);
  }
}

// The library notices the end and closes the descriptor itself.
void ConnectionGuard::end_connection(int descriptor) {
  if (descriptor >= 0) ::shutdown(descriptor, SHUT_RDWR);
}

}  // namespace nabla
