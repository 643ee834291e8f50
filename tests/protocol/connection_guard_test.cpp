#include "protocol/connection_guard.h"

#include "tests/testing.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace nabla {

namespace {

// A connection of this process with itself: what a server sees of a peer, and the peer.
struct Connection {
  Connection() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener, 1) == 0);
    REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port = ntohs(address.sin_port);
    REQUIRE(::connect(peer, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    server = ::accept(listener, nullptr, nullptr);
    REQUIRE(server >= 0);
  }
  ~Connection() {
    for (const int descriptor : {listener, peer, server}) ::close(descriptor);
  }
  void send(std::size_t count) const {
    std::string bytes(count, 'x');
    REQUIRE(::send(peer, bytes.data(), count, 0) == static_cast<ssize_t>(count));
    REQUIRE(::recv(server, bytes.data(), count, MSG_PEEK | MSG_WAITALL) ==
            static_cast<ssize_t>(count));  // until the kernel has delivered it
  }
  bool is_ended() const {
    char byte = 0;
    return ::recv(peer, &byte, 1, MSG_DONTWAIT) == 0;
  }
  // The same, with time for the kernel to deliver the end.
  bool ends() const {
    pollfd waits{peer, POLLIN, 0};
    return ::poll(&waits, 1, 10'000) == 1 && is_ended();
  }

  int listener = ::socket(AF_INET, SOCK_STREAM, 0), peer = ::socket(AF_INET, SOCK_STREAM, 0), server = -1;
  std::uint16_t port = 0;
};

// Takes every descriptor that this process may still have.
struct NoDescriptors {
  NoDescriptors() {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    rlimit few = before;
    few.rlim_cur = 64;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    for (int taken = ::open("/dev/null", O_RDONLY); taken >= 0; taken = ::open("/dev/null", O_RDONLY)) all.push_back(taken);
  }
  ~NoDescriptors() {
    for (const int descriptor : all) ::close(descriptor);
    ::setrlimit(RLIMIT_NOFILE, &before);
  }
  rlimit before{};
  std::vector<int> all;
};

std::chrono::steady_clock::time_point now() { return std::chrono::steady_clock::now(); }

}  // namespace

TEST_CASE("a connection that floods is ended though the process has no descriptor left") {
  const Connection flooding;
  ConnectionGuard guard({flooding.port}, true, {.stranger_bytes = 1000});
  flooding.send(1001);
  const NoDescriptors none;
  CHECK(guard.watch(now()) == 1);
  CHECK(flooding.ends());
}

TEST_CASE("connections are seen that came after the guard") {
  const Connection first;
  ConnectionGuard guard({first.port}, true, {.stranger_bytes = 1000});
  CHECK(guard.watch(now()) == 0);
  first.send(1001);
  CHECK(guard.watch(now() + std::chrono::hours(1)) == 1);
}

TEST_CASE("only connections of a key that went are ended, none that has not spoken yet") {
  const Connection revoked, allowed, silent;
  ConnectionGuard guard({revoked.port, allowed.port, silent.port}, true, {});
  guard.note(revoked.server, "a", "old key");
  guard.note(allowed.server, "b", "key");
  guard.end_revoked([](const std::string& key) { return key == "key"; });
  CHECK(revoked.ends());
  CHECK_FALSE(allowed.is_ended());
  CHECK_FALSE(silent.is_ended());
}

}  // namespace nabla
