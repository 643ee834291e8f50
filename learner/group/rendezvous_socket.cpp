#include "learner/group/rendezvous_socket.h"

#include "common/error.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

namespace nabla {

namespace {

struct AddressListDeleter {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

std::unique_ptr<addrinfo, AddressListDeleter> resolve(const std::string& host, std::uint16_t port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  if (const int code = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); code != 0)
    throw network_error("[group] the rendezvous' host '{}' is unknown: {}", host, gai_strerror(code));
  return std::unique_ptr<addrinfo, AddressListDeleter>(found);
}

std::uint16_t port_of(int descriptor) {
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  getsockname(descriptor, reinterpret_cast<sockaddr*>(&name), &length);
  const bool v6 = name.ss_family == AF_INET6;
  return ntohs(v6 ? reinterpret_cast<const sockaddr_in6&>(name).sin6_port : reinterpret_cast<const sockaddr_in&>(name).sin_port);
}

}  // namespace

RendezvousSocket::RendezvousSocket(const std::string& host, std::uint16_t port) {
  const auto address = resolve(host, port);
  descriptor_ = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  setsockopt(descriptor_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (descriptor_ < 0 || bind(descriptor_, address->ai_addr, address->ai_addrlen) != 0 || listen(descriptor_, SOMAXCONN) != 0) {
    const int problem = errno;
    if (descriptor_ >= 0) close(descriptor_);
    throw network_error("[group] rank 0 cannot keep the rendezvous at {}:{}: {}", host, port, std::strerror(problem));
  }
  port_ = port_of(descriptor_);
}

RendezvousSocket::~RendezvousSocket() {
  if (descriptor_ >= 0) close(descriptor_);
}

int RendezvousSocket::release() { return std::exchange(descriptor_, -1); }

}  // namespace nabla
