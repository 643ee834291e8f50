#include "protocol/arrival_gate.h"

#include "tests/testing.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace nabla {

namespace {

using std::chrono::milliseconds;

const ArrivalGate::Time kStart{std::chrono::hours(1)};

sockaddr_in address_of(const char* host, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = ::inet_addr(host);
  return address;
}

struct Listener {
  Listener() {
    sockaddr_in address = address_of("0.0.0.0", 0);
    socklen_t size = sizeof address;
    REQUIRE(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(socket, 16) == 0);
    REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port = ntohs(address.sin_port);
  }
  ~Listener() { ::close(socket); }
  // Whether somebody of that address gets through to here; loopback answers at once.
  bool lets_in(const char* host) const {
    const int peer = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const sockaddr_in from = address_of(host, 0), to = address_of("127.0.0.1", port);
    REQUIRE(::bind(peer, reinterpret_cast<const sockaddr*>(&from), sizeof from) == 0);
    ::connect(peer, reinterpret_cast<const sockaddr*>(&to), sizeof to);
    pollfd waits{peer, POLLOUT, 0};
    const bool connected = ::poll(&waits, 1, 200) == 1 && (waits.revents & (POLLERR | POLLHUP)) == 0;
    ::close(peer);
    return connected;
  }
  int socket = ::socket(AF_INET, SOCK_STREAM, 0), port = 0;
};

std::string bytes_of(const sockaddr_in& address) { return {reinterpret_cast<const char*>(&address), sizeof address}; }

}  // namespace

TEST_CASE("a storm of connections closes the door to strangers, not to machines that messages came from") {
  const Listener listener;
  ArrivalGate gate({.burst = 10, .per_s = 1, .closed_for = milliseconds(1000)});
  gate.guard(listener.socket);
  gate.note_friend(bytes_of(address_of("127.0.0.3", 5)));
  gate.note_friend(bytes_of(address_of("127.0.0.1", 5)));
  CHECK_FALSE(gate.note_arrivals(10, kStart));
  CHECK(listener.lets_in("127.0.0.2"));
  CHECK(gate.note_arrivals(1, kStart));
  CHECK_FALSE(listener.lets_in("127.0.0.2"));
  for (const char* host : {"127.0.0.1", "127.0.0.3"}) CHECK(listener.lets_in(host));
  // One whose first message comes late, over a connection of before.
  gate.note_friend(bytes_of(address_of("127.0.0.2", 5)));
  CHECK(listener.lets_in("127.0.0.2"));
}

TEST_CASE("the door opens again after its time, and a connection that was there goes on") {
  const Listener listener;
  ArrivalGate gate({.burst = 10, .per_s = 1, .closed_for = milliseconds(1000)});
  gate.guard(listener.socket);
  CHECK(gate.note_arrivals(11, kStart));
  gate.make_round(kStart + milliseconds(999));
  CHECK(gate.is_closed());
  CHECK_FALSE(listener.lets_in("127.0.0.2"));
  gate.make_round(kStart + milliseconds(1000));
  CHECK_FALSE(gate.is_closed());
  CHECK(listener.lets_in("127.0.0.2"));
  // Another storm finds a budget that has hardly refilled.
  CHECK(gate.note_arrivals(3, kStart + milliseconds(1000)));
}

TEST_CASE("arrivals that are spread over time close no door") {
  ArrivalGate gate({.burst = 10, .per_s = 1, .closed_for = milliseconds(1000)});
  for (int i = 0; i < 1000; ++i) CHECK_FALSE(gate.note_arrivals(1, kStart + std::chrono::seconds(i)));
}

}  // namespace nabla
