// Weights that cannot be had although the control address answers.
#include "protocol/fleet_client.h"
#include "tests/common/error_check.h"
#include "tests/protocol/keyed_learner.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stop_token>
#include <thread>

namespace nabla {

namespace {

using std::chrono::milliseconds;

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A port that takes connections and says nothing.
class SilentPort {
 public:
  SilentPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    REQUIRE(::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(socket_, 8) == 0);
    REQUIRE(::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  ~SilentPort() { ::close(socket_); }
  SilentPort(const SilentPort&) = delete;
  SilentPort& operator=(const SilentPort&) = delete;
  std::string endpoint() const { return fmt::format("tcp://127.0.0.1:{}", port_); }
  // -1 once stop is requested.
  int accept(const std::stop_token& stop) const {
    pollfd waits{socket_, POLLIN, 0};
    while (!stop.stop_requested()) {
      if (::poll(&waits, 1, 10) == 1) return ::accept(socket_, nullptr, nullptr);
    }
    return -1;
  }

 private:
  int socket_;
  int port_ = 0;
};

// Passes one connection on, what comes back in pieces of 2 KiB every 10 ms.
class NarrowWay {
 public:
  explicit NarrowWay(const std::string& endpoint) : thread_([this, endpoint](const std::stop_token& stop) { pass_on(endpoint, stop); }) {}
  std::string endpoint() const { return port_.endpoint(); }

 private:
  void pass_on(const std::string& endpoint, const std::stop_token& stop) {
    const int near = port_.accept(stop), far = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)));
    if (::connect(far, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return;
    std::array<char, 2048> bytes{};
    while (!stop.stop_requested()) {
      pollfd ends[] = {{near, POLLIN, 0}, {far, POLLIN, 0}};
      ::poll(ends, 2, 10);
      if ((ends[0].revents & POLLIN) != 0 && !copy(near, far, bytes)) break;
      if ((ends[1].revents & POLLIN) != 0 && !copy(far, near, bytes)) break;
      if ((ends[1].revents & POLLIN) != 0) std::this_thread::sleep_for(milliseconds(10));
    }
    ::close(near);
    ::close(far);
  }
  static bool copy(int from, int to, std::array<char, 2048>& bytes) {
    const ssize_t count = ::recv(from, bytes.data(), bytes.size(), 0);
    return count > 0 && ::send(to, bytes.data(), static_cast<std::size_t>(count), MSG_NOSIGNAL) == count;
  }

  SilentPort port_;
  std::jthread thread_;
};

void check_named(const std::string& weights) {
  FakeLearner learner;
  learner.weights_endpoint = weights;
  FleetServer server({}, learner);
  server.start();
  FleetClientOptions options = client_of(server.control_endpoint(), std::nullopt);
  options.heartbeat_interval = milliseconds(200);  // a busy machine is silent for a while too
  options.reconnect_deadline = milliseconds(1000);
  FleetClient client(options, {});
  client.connect(hello_from("actor"));
  const auto start = std::chrono::steady_clock::now();
  for (const std::string part : {"fleet.weights_port", "firewall", "weight version 2"}) {
    check_error(
        ExitCode::kNetwork, [&] { client.get_snapshot(2); }, weights, part);
  }
  CHECK(std::chrono::steady_clock::now() - start >= milliseconds(1000));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
}

}  // namespace

TEST_CASE("a weights address where nobody listens is named after the deadline, though the learner's heartbeats go on") {
  std::string closed;
  closed = SilentPort().endpoint();
  check_named(closed);
}

TEST_CASE("a weights address that takes connections and says nothing is named after the deadline") {
  const SilentPort port;
  check_named(port.endpoint());
}

TEST_CASE("weights that come slowly are waited for longer than silence is") {
  FakeLearner learner;
  const std::vector<float> values(64 * 1024, 0.5F);
  const PackedTensors packed = pack_tensors({{"x", {DType::kF32, {64 * 1024}, std::as_bytes(std::span(values))}}});
  learner.snapshots[2] = sample_snapshot(2);
  learner.snapshots[2].table = packed.table;
  learner.snapshots[2].data = packed.data;
  FleetServer server({}, learner);
  server.start();
  const NarrowWay way(server.weights_endpoint());
  learner.with([&](FakeLearner& fake) { fake.weights_endpoint = way.endpoint(); });
  FleetClientOptions options = client_of(server.control_endpoint(), std::nullopt);
  options.heartbeat_interval = milliseconds(100);
  options.liveness = 100;  // what is left to time here is the weights
  options.reconnect_deadline = milliseconds(1000);
  FleetClient client(options, {});
  client.connect(hello_from("actor"));
  const auto start = std::chrono::steady_clock::now();
  CHECK(client.get_snapshot(2).version == 2);
  CHECK(std::chrono::steady_clock::now() - start > milliseconds(1000));
  CHECK(server.counters().at("snapshots") == 1);  // nor is it asked for again while it comes
}

}  // namespace nabla
