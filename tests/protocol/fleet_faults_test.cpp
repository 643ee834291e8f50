#include "common/crc32c.h"
#include "protocol/codec.h"
#include "protocol/fleet_client.h"
#include "protocol/wire_socket.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/protocol/fake_learner.h"
#include "tests/protocol/quick_fleet.h"
#include "tests/protocol/raw_peer.h"

#include <algorithm>
#include <mutex>
#include <thread>

namespace nabla {

using std::chrono::milliseconds;

TEST_CASE("an actor that falls silent is counted as gone after its three heartbeats") {
  FakeLearner learner;
  FleetServerOptions options = quick_server();
  options.liveness = 3;
  FleetServer server(options, learner);
  server.start();
  RawPeer silent(server.control_endpoint());
  const auto start = std::chrono::steady_clock::now();
  silent.send(MessageType::kHello, hello_from("silent"));
  CHECK(silent.receive().type == MessageType::kWelcome);
  CHECK(learner.wait_for([](const auto& heard) { return !heard.gone.empty(); }));
  CHECK(std::chrono::steady_clock::now() - start >= milliseconds(60));
  CHECK(learner.heard().gone.at(0) == "silent: not heard of for 60 ms");
  // It may come back.
  silent.send(MessageType::kTicketRequest, Notice{}, 2);
  CHECK(silent.receive().type == MessageType::kSayHello);
}

TEST_CASE("an actor that sends heartbeats stays") {
  FakeLearner learner;
  FleetServerOptions options = quick_server();
  options.liveness = 30;  // 600 ms
  FleetServer server(options, learner);
  server.start();
  const std::stop_source stop;
  FleetClientOptions calm = quick_client(server.control_endpoint(), "alive");
  calm.liveness = 100;
  FleetClient client(calm, stop.get_token());
  const auto start = std::chrono::steady_clock::now();
  client.connect(hello_from("alive"));
  CHECK(learner.wait_for(
      [&](const auto& heard) { return heard.heartbeats.size() > 10 && std::chrono::steady_clock::now() - start > milliseconds(900); }));
  CHECK(learner.heard().gone.empty());
  CHECK(learner.heard().hellos.size() == 1);
}

TEST_CASE("a record under way reaches a learner that was restarted at the same address") {
  const TemporaryFolder folder;
  const std::string control = "ipc://" + folder.file("c"), weights = "ipc://" + folder.file("w");
  FakeLearner before, after;
  auto server = std::make_unique<FleetServer>(quick_server(control, weights), before);
  server->start();
  const std::stop_source stop;
  FleetClient client(quick_client(control, "actor"), stop.get_token());
  client.connect(hello_from("actor"));
  server.reset();
  Ack ack;
  std::thread actor([&] { ack = client.send_record(sample_record(7), 12, 7); });
  server = std::make_unique<FleetServer>(quick_server(control, weights), after);
  server->start();
  actor.join();
  CHECK(ack.reject == Reject::kNone);
  CHECK(after.heard().hellos.size() >= 1);
  CHECK(after.heard().records == std::vector<std::int64_t>{7});
  CHECK(client.send_record(sample_record(7), 12, 7).reject == Reject::kDuplicate);
}

TEST_CASE("a record under way reaches a learner that was restarted at another address") {
  FakeLearner before, after;
  auto server = std::make_unique<FleetServer>(quick_server(), before);
  server->start();
  std::mutex mutex;
  std::string address = server->control_endpoint();
  FleetClientOptions options = quick_client(address, "actor");
  options.look_up = [&] {
    const std::lock_guard lock(mutex);
    return address;
  };
  const std::stop_source stop;
  FleetClient client(options, stop.get_token());
  client.connect(hello_from("actor"));
  FleetServer elsewhere(quick_server(), after);
  elsewhere.start();
  REQUIRE(elsewhere.control_endpoint() != address);
  {
    const std::lock_guard lock(mutex);
    address = elsewhere.control_endpoint();
  }
  server.reset();
  CHECK(client.send_record(sample_record(7), 12, 7).reject == Reject::kNone);
  CHECK(after.heard().records == std::vector<std::int64_t>{7});
}

TEST_CASE("all records of a ticket reach a learner that was restarted among them") {
  const TemporaryFolder folder;
  const std::string control = "ipc://" + folder.file("c"), weights = "ipc://" + folder.file("w");
  FakeLearner before, after;
  auto server = std::make_unique<FleetServer>(quick_server(control, weights), before);
  server->start();
  const std::stop_source stop;
  FleetClient client(quick_client(control, "actor"), stop.get_token());
  client.connect(hello_from("actor"));
  const auto acks = client.send_records(12, {4, 5, 6, 7}, [&](std::size_t i) {
    if (i == 2) {
      CHECK(before.wait_for([](const auto& heard) { return heard.records.size() == 2; }));
      server.reset();
      server = std::make_unique<FleetServer>(quick_server(control, weights), after);
      server->start();
    }
    return sample_record(static_cast<std::int64_t>(4 + i));
  });
  REQUIRE(acks.size() == 4);
  for (const Ack& ack : acks) CHECK(ack.reject == Reject::kNone);
  auto arrived = before.heard().records;
  for (const auto slot : after.heard().records) arrived.push_back(slot);
  for (const std::int64_t slot : {4, 5, 6, 7}) CHECK(std::ranges::count(arrived, slot) >= 1);
}

TEST_CASE("snapshots can be had from a learner that was restarted") {
  const TemporaryFolder folder;
  const std::string control = "ipc://" + folder.file("c"), weights = "ipc://" + folder.file("w");
  FakeLearner learner;
  learner.snapshots[1] = sample_snapshot(1);
  auto server = std::make_unique<FleetServer>(quick_server(control, weights), learner);
  server->start();
  const std::stop_source stop;
  FleetClient client(quick_client(control, "actor"), stop.get_token());
  client.connect(hello_from("actor"));
  CHECK(client.get_snapshot(1).version == 1);
  server.reset();
  server = std::make_unique<FleetServer>(quick_server(control, weights), learner);
  server->start();
  CHECK(client.get_snapshot(1).version == 1);
}

TEST_CASE("an actor does not go over to another run") {
  const TemporaryFolder folder;
  const std::string control = "ipc://" + folder.file("c"), weights = "ipc://" + folder.file("w");
  FakeLearner first, second;
  second.run_id = "run-2";
  auto server = std::make_unique<FleetServer>(quick_server(control, weights), first);
  server->start();
  const std::stop_source stop;
  FleetClient client(quick_client(control, "actor"), stop.get_token());
  client.connect(hello_from("actor"));
  server.reset();
  server = std::make_unique<FleetServer>(quick_server(control, weights), second);
  server->start();
  check_error(
      ExitCode::kNetwork, [&] { client.next_work(); }, "run-1", "run-2");
}

TEST_CASE("a learner that stays away is named with what was waited for") {
  FakeLearner learner;
  auto server = std::make_unique<FleetServer>(quick_server(), learner);
  const std::string endpoint = server->control_endpoint();
  server->start();
  const std::stop_source stop;
  FleetClientOptions options = quick_client(endpoint, "actor");
  options.reconnect_deadline = milliseconds(150);
  FleetClient client(options, stop.get_token());
  client.connect(hello_from("actor"));
  server.reset();
  check_error(
      ExitCode::kNetwork, [&] { client.send_record(sample_record(7), 12, 7); }, endpoint, "slot 7");
}

TEST_CASE("a request asked twice is answered twice with the same ticket") {
  FakeLearner learner;
  learner.tickets = {sample_ticket(5), sample_ticket(6)};
  FleetServer server(quick_server(), learner);
  server.start();
  RawPeer peer(server.control_endpoint());
  peer.send(MessageType::kHello, hello_from("peer"));
  peer.receive();
  const auto ask = [&](std::uint64_t request) {
    peer.send(MessageType::kTicketRequest, Notice{}, request);
    const WireMessage answer = peer.receive();
    Work work;
    REQUIRE(answer.request == request);
    REQUIRE(decode(answer.body.view, work).ok);
    return work.ticket.value().id;
  };
  CHECK(ask(2) == 5);
  CHECK(ask(2) == 5);
  CHECK(ask(3) == 6);
  CHECK(server.counters().at("repeated_answers") == 1);
}

TEST_CASE("a second process with the same id takes it over, and the first one is told") {
  FakeLearner learner;
  FleetServer server(quick_server(), learner);
  server.start();
  const std::stop_source stop;
  FleetClientOptions calm = quick_client(server.control_endpoint(), "twin");
  calm.liveness = 100;
  FleetClient first(calm, stop.get_token());
  first.connect(hello_from("twin", 1));
  FleetClient second(calm, stop.get_token());
  second.connect(hello_from("twin", 2));
  check_error(
      ExitCode::kNetwork, [&] { first.next_work(); }, "twin", "process 2");
  CHECK(second.send_record(sample_record(), 12, 7).reject == Reject::kNone);
  // The first one does not take the id back.
  const auto beats = learner.heard().heartbeats.size();
  CHECK(learner.wait_for([&](const auto& heard) { return heard.heartbeats.size() > beats + 10; }));
  CHECK(learner.heard().hellos.size() == 2);
}

TEST_CASE("what a handler throws is kept, told to the actor, and ends nothing") {
  FakeLearner learner;
  learner.throw_on_record = true;
  FleetServer server(quick_server(), learner);
  server.start();
  const std::stop_source stop;
  FleetClient client(quick_client(server.control_endpoint(), "actor"), stop.get_token());
  client.connect(hello_from("actor"));
  check_error(
      ExitCode::kFailure, [&] { client.send_record(sample_record(), 12, 7); }, "disk full");
  REQUIRE(server.failure());
  CHECK_THROWS_WITH(std::rethrow_exception(server.failure()), "disk full");
  CHECK(learner.heard().records.empty());
  FleetClient other(quick_client(server.control_endpoint(), "other"), stop.get_token());
  CHECK(other.connect(hello_from("other")).run_id == "run-1");
}

TEST_CASE("malformed messages of a raw peer are counted and hurt nobody else") {
  FakeLearner learner;
  FleetServerOptions patient = quick_server();
  patient.quarantine.faults = 1000;
  FleetServer server(patient, learner);
  server.start();
  const std::stop_source stop;
  FleetClient good(quick_client(server.control_endpoint(), "good"), stop.get_token());
  good.connect(hello_from("good"));

  RawPeer bad(server.control_endpoint());
  std::int64_t malformed = 0;
  const std::string envelope(32, '\0');
  for (const std::vector<std::string>& frames : std::vector<std::vector<std::string>>{{""},
                                                                                      {"x"},
                                                                                      {"", ""},
                                                                                      {envelope},
                                                                                      {envelope, ""},
                                                                                      {envelope, "body", "data"},
                                                                                      {"NBF1", "body"},
                                                                                      std::vector<std::string>(64, "x"),
                                                                                      std::vector<std::string>(65, "x"),
                                                                                      std::vector<std::string>(1000, "x")}) {
    bad.send_raw(frames);
    ++malformed;
  }
  // A body that is no hello, and one that is damaged.
  bad.send(MessageType::kHello, Notice{"x"});
  bad.send(MessageType::kHello, hello_from("bad"), 1, 1);
  CHECK(bad.receive().type == MessageType::kBadMessage);
  CHECK(bad.receive().type == MessageType::kBadMessage);
  malformed += 2;
  // Work without a hello.
  bad.send(MessageType::kRecord, Notice{"x"});
  CHECK(bad.receive().type == MessageType::kSayHello);
  // Known, but still talking nonsense: types of the learner, and evaluations that are none.
  bad.send(MessageType::kHello, hello_from("bad"));
  CHECK(bad.receive().type == MessageType::kWelcome);
  bad.send(MessageType::kWelcome, Notice{"x"}, 2);
  CHECK(bad.receive().type == MessageType::kBadMessage);
  bad.send(MessageType::kEvaluation, Notice{"x"}, 3);
  CHECK(bad.receive().type == MessageType::kBadMessage);
  malformed += 2;
  // A record whose header is garbage is the validator's to judge.
  bad.send(MessageType::kRecord, Notice{"x"}, 4);
  Ack ack;
  CHECK(decode(bad.receive().body.view, ack).ok);
  CHECK(ack.reject == Reject::kBadHeader);

  CHECK(good.send_record(sample_record(7), 12, 7).reject == Reject::kNone);
  CHECK(server.counters().at("malformed") == malformed);
  CHECK(server.counters().at("actor.bad.malformed") == 2);
  CHECK_FALSE(server.failure());
}

TEST_CASE("a frame above the limit disconnects its sender and nobody else") {
  FakeLearner learner;
  FleetServer server(quick_server(), learner);
  server.start();
  const std::stop_source stop;
  FleetClient good(quick_client(server.control_endpoint(), "good"), stop.get_token());
  good.connect(hello_from("good"));
  RawPeer bad(server.control_endpoint());
  bad.send_raw({std::string((std::size_t{1} << 20) + 1, 'x')});
  bad.send(MessageType::kHello, hello_from("bad"));
  CHECK(good.send_record(sample_record(7), 12, 7).reject == Reject::kNone);
  CHECK(server.counters().at("records") == 1);
  CHECK_FALSE(server.failure());
}

TEST_CASE("garbage on the weights socket is counted and snapshots are still served") {
  FakeLearner learner;
  learner.snapshots[1] = sample_snapshot(1);
  FleetServer server(quick_server(), learner);
  server.start();
  RawPeer bad(server.weights_endpoint());
  bad.send_raw({"x", "y"});
  bad.send(MessageType::kHello, hello_from("bad"));
  bad.send(MessageType::kSnapshotRequest, Notice{"x"});
  bad.send(MessageType::kSnapshotRequest, SnapshotRequest{1}, 9);
  const WireMessage answer = bad.receive();
  CHECK(answer.type == MessageType::kSnapshot);
  CHECK(answer.request == 9);
  CHECK(server.counters().at("malformed") == 3);
}

}  // namespace nabla
