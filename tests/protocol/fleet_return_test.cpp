// How actors come back to a learner that was away.
#include "protocol/codec.h"
#include "protocol/wire_socket.h"
#include "tests/common/temporary_folder.h"
#include "tests/protocol/fake_learner.h"
#include "tests/protocol/quick_fleet.h"
#include "tests/testing.h"

#include <algorithm>
#include <thread>
#include <vector>

namespace nabla {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

TEST_CASE("however long nobody answers, an actor asks anew at the same pace") {
  constexpr std::size_t kHellos = 12;
  const WireContext context;
  WireSocket mute(context, SocketKind::kRouter, std::size_t{1} << 20);
  mute.bind("tcp://127.0.0.1:*");
  std::stop_source stop;
  FleetClientOptions options = quick_client(mute.endpoint(), "actor");
  std::thread actor([&] {
    FleetClient client(options, stop.get_token());
    CHECK_THROWS(client.connect(hello_from("actor")));
  });
  std::vector<Clock::time_point> heard;
  WireMessage message;
  const auto give_up = Clock::now() + milliseconds(10'000);
  while (heard.size() < kHellos && Clock::now() < give_up) {
    wait_readable(&mute, nullptr, nullptr, milliseconds(100));
    while (mute.receive(message) == Received::kMessage) heard.push_back(Clock::now());
  }
  stop.request_stop();
  actor.join();
  REQUIRE(heard.size() >= kHellos);
  std::vector<Clock::duration> gaps;
  for (std::size_t i = 1; i < heard.size(); ++i) gaps.push_back(heard[i] - heard[i - 1]);
  // Three heartbeats of patience, then a pause of 1.25 at most. A busy machine makes some of them longer, never all.
  const auto shortest_of = [&](std::size_t begin, std::size_t end) {
    return *std::min_element(gaps.begin() + static_cast<std::ptrdiff_t>(begin), gaps.begin() + static_cast<std::ptrdiff_t>(end));
  };
  CHECK(shortest_of(0, gaps.size()) >= options.heartbeat_interval * 5 / 2);
  CHECK(shortest_of(kHellos / 2, gaps.size()) <= options.heartbeat_interval * 5);
}

TEST_CASE("what a learner had not answered goes at once to the one that is started in its place") {
  const TemporaryFolder folder;
  const std::string control = "ipc://" + folder.file("c"), weights = "ipc://" + folder.file("w");
  FakeLearner before, after;
  auto server = std::make_unique<FleetServer>(quick_server(control, weights), before);
  server->start();
  const std::stop_source stop;
  FleetClientOptions options = quick_client(control, "actor");
  options.heartbeat_interval = milliseconds(200);
  FleetClient client(options, stop.get_token());
  client.connect(hello_from("actor"));
  server.reset();
  const auto start = Clock::now();
  Ack ack;
  std::thread actor([&] { ack = client.send_record(sample_record(7), 12, 7); });
  server = std::make_unique<FleetServer>(quick_server(control, weights), after);
  server->start();
  actor.join();
  CHECK(ack.reject == Reject::kNone);
  // Without hearing that it is forgotten the actor would ask again after ten heartbeats.
  CHECK(Clock::now() - start < options.heartbeat_interval * 8);
}

TEST_CASE("weights are got where a restarted learner serves them") {
  const TemporaryFolder folder;
  const std::string control = "ipc://" + folder.file("c");
  FakeLearner learner;
  learner.snapshots[1] = sample_snapshot(1);
  auto server = std::make_unique<FleetServer>(quick_server(control, "ipc://" + folder.file("w1")), learner);
  server->start();
  const std::stop_source stop;
  FleetClientOptions options = quick_client(control, "actor");
  options.heartbeat_interval = milliseconds(200);
  options.reconnect_deadline = milliseconds(3'000);
  FleetClient client(options, stop.get_token());
  client.connect(hello_from("actor"));
  CHECK(client.get_snapshot(1).version == 1);
  server.reset();
  server = std::make_unique<FleetServer>(quick_server(control, "ipc://" + folder.file("w2")), learner);
  server->start();
  CHECK(client.get_snapshot(1).version == 1);
}

}  // namespace nabla
