#include "protocol/peer_connections.h"

#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace nabla {

namespace {

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

std::uint16_t port_of(const std::string& address) {
  if (address.size() < sizeof(sockaddr_in)) return 0;
  // The port stands at the same place in both families.
  sockaddr_in start{};
  std::memcpy(&start, address.data(), sizeof start);
  return ntohs(start.sin_port);
}

std::uint16_t near_port(int descriptor) {
  return port_of(
      address_of(descriptor, [](int socket, sockaddr* address, socklen_t* size) { return ::getsockname(socket, address, size); }));
}

std::vector<int> open_descriptors() {
  std::vector<int> descriptors;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/fd"), ::closedir);
  if (!folder) return descriptors;
  while (const dirent* item = ::readdir(folder.get())) {
    if (item->d_name[0] != '.') descriptors.push_back(std::atoi(item->d_name));
  }
  return descriptors;
}

}  // namespace

void PeerConnections::note(int descriptor, const std::string& routing, const std::string& key) {
  if (descriptor < 0) return;
  Connection& connection = connections_[descriptor];
  if (connection.routing == routing && connection.key == key) return;
  connection = {routing, key, far_end(descriptor)};
}

std::size_t PeerConnections::end_others(const std::vector<std::uint16_t>& ports,
                                        const std::function<bool(const std::string& key)>& may_stay) {
  std::size_t ended = 0;
  for (const int descriptor : open_descriptors()) {
    const std::string address = far_end(descriptor);
    if (address.empty() || std::ranges::count(ports, near_port(descriptor)) == 0) continue;
    const auto known = connections_.find(descriptor);
    // A descriptor that closed and was given to somebody else has another address at its far end.
    const bool stays = known != connections_.end() && known->second.address == address && may_stay(known->second.key);
    if (stays) continue;
    // The library notices the end and closes the descriptor itself.
    if (::shutdown(descriptor, SHUT_RDWR) == 0) ++ended;
  }
  return ended;
}

}  // namespace nabla
