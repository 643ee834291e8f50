#include "protocol/fleet_client.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/protocol/fake_learner.h"

#include <thread>

namespace nabla {

namespace {

using std::chrono::milliseconds;

FleetServerOptions server_options(const std::string& control, const std::string& weights) {
  FleetServerOptions options;
  options.control_address = control;
  options.weights_address = weights;
  options.heartbeat_interval = milliseconds(20);
  options.liveness = 100;  // a test on a busy machine may pause for long
  return options;
}

FleetClientOptions client_options(const std::string& endpoint, const std::string& actor_id = "actor-1") {
  FleetClientOptions options;
  options.control_endpoint = endpoint;
  options.actor_id = actor_id;
  options.heartbeat_interval = milliseconds(100);  // what is not answered within ten is asked for again
  options.liveness = 100;
  options.connect_deadline = options.reconnect_deadline = milliseconds(10'000);
  return options;
}

Hello hello_of(const std::string& actor_id = "actor-1", const std::string& base_digest = "base") {
  return {kProtocolVersion, actor_id, "host", 1, base_digest};
}

// A learner and its server on TCP, and an actor connected to it.
struct Pair {
  explicit Pair(FakeLearner& learner)
      : server(server_options("tcp://127.0.0.1:*", "tcp://127.0.0.1:*"), learner),
        client(client_options(server.control_endpoint()), stop.get_token()) {
    server.start();
    client.connect(hello_of());
  }
  std::stop_source stop;
  FleetServer server;
  FleetClient client;
};

// Everything an actor does, once.
void work_through(FakeLearner& learner, FleetClient& client) {
  CHECK(client.connect(hello_of("actor-1", "")).config == "seed: 1\n");
  CHECK(client.connect(hello_of()).run_id == "run-1");
  const Work work = client.next_work();
  REQUIRE(work.ticket);
  CHECK(work.ticket->id == 5);
  CHECK(work.ticket->slots.at(0).prompt == "a red circle");
  const Snapshot snapshot = client.get_snapshot(2);
  CHECK(snapshot.digest == "digest");
  CHECK(copy_of(snapshot.data) == copy_of(sample_tensors().data));
  const Ack ack = client.send_record(sample_record(7), 5, 7);
  CHECK(ack.reject == Reject::kNone);
  CHECK(ack.slot == 7);
  CHECK(ack.newest_version == 3);
  CHECK(client.send_record(sample_record(7), 5, 7).reject == Reject::kDuplicate);
  EvaluationResult result;
  result.ticket_id = 6;
  result.table = sample_tensors().table;
  result.data = sample_tensors().data;
  CHECK(client.send_evaluation(result).reject == Reject::kNone);
  client.fail_ticket(8, "reward failed");
  client.leave();
  CHECK(learner.wait_for([](const auto& heard) { return heard.gone.size() == 1; }));
}

void check_whole_conversation(const std::string& control, const std::string& weights) {
  FakeLearner learner;
  learner.tickets = {sample_ticket(5)};
  learner.snapshots[2] = sample_snapshot(2);
  FleetServer server(server_options(control, weights), learner);
  server.start();
  {
    const std::stop_source stop;
    FleetClient client(client_options(server.control_endpoint()), stop.get_token());
    work_through(learner, client);
  }
  const auto heard = learner.heard();
  CHECK(heard.gone.at(0) == "actor-1: said goodbye");
  CHECK(heard.records == std::vector<std::int64_t>{7, 7});
  REQUIRE(heard.evaluations.size() == 1);
  CHECK(copy_of(heard.evaluations[0].data) == copy_of(sample_tensors().data));
  CHECK(heard.ticket_failures == std::vector<std::string>{"actor-1 8 reward failed"});
  const auto counters = server.counters();
  CHECK(counters.at("records") == 2);
  CHECK(counters.at("actor.actor-1.records") == 2);
  CHECK(counters.at("acks") == 2);
  CHECK(counters.at("rejected_duplicate") == 1);
  CHECK(counters.at("snapshots") == 1);
  CHECK_FALSE(counters.contains("malformed"));
  CHECK_FALSE(server.failure());
}

}  // namespace

TEST_CASE("a whole conversation works over tcp") { check_whole_conversation("tcp://127.0.0.1:*", "tcp://127.0.0.1:*"); }

TEST_CASE("a whole conversation works over ipc") {
  const TemporaryFolder folder;
  check_whole_conversation("ipc://" + folder.file("control.sock"), "ipc://" + folder.file("weights.sock"));
}

TEST_CASE("the learner hears of a new stage and its counters before the delivery that follows") {
  FakeLearner learner;
  FleetServer server(server_options("tcp://127.0.0.1:*", "tcp://127.0.0.1:*"), learner);
  server.start();
  FleetClientOptions options = client_options(server.control_endpoint());
  options.heartbeat_interval = milliseconds(5'000);
  const std::stop_source stop;
  FleetClient client(options, stop.get_token());
  client.connect(hello_of());
  for (int delivery = 1; delivery <= 3; ++delivery) {
    Heartbeat progress;
    progress.stage = fmt::format("delivery {}", delivery);
    progress.counters["actor_unet_forwards"] = delivery;
    client.set_progress(progress);
    client.send_record(sample_record(delivery), 12, delivery);
    const auto heard = learner.heard();
    REQUIRE_FALSE(heard.heartbeats.empty());
    CHECK(heard.heartbeats.back().stage == progress.stage);
    CHECK(heard.heartbeats.back().counters.at("actor_unet_forwards") == delivery);
  }
}

TEST_CASE("a large record arrives whole") {
  FakeLearner learner;
  Pair pair(learner);
  const std::vector<float> values(2 * 3 * 256 * 256, 0.125F);
  const TensorSource source{DType::kF32, {2, 3, 256, 256}, std::as_bytes(std::span(values))};
  const EncodedRecord record = encode_record(sample_header(3), pack_tensors({{"x", source}, {"y", source}}));
  // On a machine that is slow for heartbeats of 50 ms it is sent again, and the first one was taken.
  const Reject reject = pair.client.send_record(record, 12, 3).reject;
  CHECK((reject == Reject::kNone || reject == Reject::kDuplicate));
  CHECK(learner.heard().records.front() == 3);
}

TEST_CASE("the records of a ticket are acknowledged in order, the next one made while the last is on its way") {
  FakeLearner learner;
  Pair pair(learner);
  std::vector<std::size_t> made;
  const std::vector<std::int64_t> slots{4, 5, 6, 5};
  const auto acks = pair.client.send_records(12, slots, [&](std::size_t i) {
    made.push_back(i);
    if (i == 2)
      CHECK(learner.wait_for([](const auto& heard) { return heard.records.size() == 2; }));  // before the ack of slot 5 is asked for
    EncodedRecord record = sample_record(slots[i]);
    if (i == 2) record.data_crc32c ^= 1;
    return record;
  });
  CHECK(made == std::vector<std::size_t>{0, 1, 2, 3});
  REQUIRE(acks.size() == 4);
  for (const std::size_t i : {0U, 1U, 3U}) CHECK(acks[i].slot == slots[i]);
  CHECK(acks[1].reject == Reject::kNone);
  CHECK(acks[2].reject == Reject::kBadChecksum);
  CHECK(acks[3].reject == Reject::kDuplicate);
  CHECK(learner.heard().records == std::vector<std::int64_t>{4, 5, 5});
  CHECK(pair.client.send_records(12, {}, [](std::size_t) { return EncodedRecord{}; }).empty());
}

TEST_CASE("a record that cannot be made ends the delivery, and the client goes on") {
  FakeLearner learner;
  Pair pair(learner);
  const auto make = [](std::size_t i) {
    if (i == 1) throw std::runtime_error("no memory");
    return sample_record(4);
  };
  CHECK_THROWS_WITH(pair.client.send_records(12, {4, 5}, make), "no memory");
  CHECK(pair.client.send_record(sample_record(6), 12, 6).slot == 6);
}

TEST_CASE("a refusal is thrown with its exit code and both values") {
  FakeLearner learner;
  FleetServer server(server_options("tcp://127.0.0.1:*", "tcp://127.0.0.1:*"), learner);
  server.start();
  const std::stop_source stop;
  FleetClient client(client_options(server.control_endpoint()), stop.get_token());
  check_error(
      ExitCode::kData, [&] { client.connect(hello_of("actor-1", "other")); }, server.control_endpoint(), "'other'", "'base'");
  CHECK(server.counters().at("refused") == 1);
}

TEST_CASE("an actor of another protocol version is refused with both versions") {
  FakeLearner learner;
  FleetServer server(server_options("tcp://127.0.0.1:*", "tcp://127.0.0.1:*"), learner);
  server.start();
  const std::stop_source stop;
  FleetClient client(client_options(server.control_endpoint()), stop.get_token());
  Hello hello = hello_of();
  hello.protocol_version = 7;
  check_error(
      ExitCode::kNetwork, [&] { client.connect(hello); }, "protocol version 7", "speaks 1");
  CHECK(learner.heard().hellos.empty());
}

TEST_CASE("a record refused by the learner comes back with the reason") {
  FakeLearner learner;
  Pair pair(learner);
  RecordHeader header = sample_header();
  header.transitions.clear();
  const Ack ack = pair.client.send_record(encode_record(header, sample_tensors()), 12, 7);
  CHECK(ack.reject == Reject::kBadTransitions);
  CHECK(ack.reason.find("'transitions' is empty") != std::string::npos);
  CHECK(pair.server.counters().at("rejected_bad_transitions") == 1);
  CHECK(pair.server.counters().at("actor.actor-1.rejected") == 1);
}

TEST_CASE("a version that is not held is a failure that names it") {
  FakeLearner learner;
  Pair pair(learner);
  check_error(
      ExitCode::kFailure, [&] { pair.client.get_snapshot(99); }, "version 99");
}

TEST_CASE("an actor gets the states of a slot, and hears when they are not wanted any more") {
  FakeLearner learner;
  const PackedTensors packed = sample_tensors();
  learner.states[7] = {7, packed.table, packed.data};
  learner.states[8] = {7, packed.table, packed.data};
  learner.states[9] = {9, packed.table, {packed.data.owner, packed.data.view.first(64)}};
  Pair pair(learner);
  const SlotStates states = pair.client.get_states(7);
  CHECK(states.slot == 7);
  CHECK(copy_of(states.data) == copy_of(packed.data));
  check_error(
      ExitCode::kFailure, [&] { pair.client.get_states(3); }, "slot 3");
  check_error(
      ExitCode::kNetwork, [&] { pair.client.get_states(8); }, "slot 8", "slot 7");
  check_error(
      ExitCode::kNetwork, [&] { pair.client.get_states(9); }, "slot 9");
  const auto counters = pair.server.counters();
  CHECK(counters.at("states") == 3);
  CHECK(counters.at("states_missing") == 1);
}

TEST_CASE("a damaged snapshot is not handed on") {
  FakeLearner learner;
  learner.snapshots[2] = sample_snapshot(2);
  learner.snapshots[2].data_crc32c = 1;
  learner.snapshots[3] = sample_snapshot(3);
  learner.snapshots[3].table[0].size += 1;
  Pair pair(learner);
  check_error(
      ExitCode::kNetwork, [&] { pair.client.get_snapshot(2); }, "version 2", "damaged");
  check_error(
      ExitCode::kNetwork, [&] { pair.client.get_snapshot(3); }, "version 3", "eps_reference");
}

TEST_CASE("an actor that has to wait gets the ticket as soon as there is one") {
  FakeLearner learner;
  Pair pair(learner);
  std::thread learner_thread([&] {
    learner.wait_for([](const auto& heard) { return heard.ticket_requests > 0; });
    learner.with([](FakeLearner& fake) { fake.tickets.push_back(sample_ticket(9)); });
  });
  const Work work = pair.client.next_work();
  learner_thread.join();
  REQUIRE(work.ticket);
  CHECK(work.ticket->id == 9);
}

TEST_CASE("after finish every ticket request is answered finished") {
  FakeLearner learner;
  learner.tickets = {sample_ticket(5)};
  Pair pair(learner);
  pair.server.finish();
  CHECK(pair.client.next_work().state == WorkState::kFinished);
}

TEST_CASE("actors learn that the run is over from a finished server that goes away") {
  FakeLearner learner;
  auto server = std::make_unique<FleetServer>(server_options("tcp://127.0.0.1:*", "tcp://127.0.0.1:*"), learner);
  server->start();
  const std::stop_source stop;
  FleetClient client(client_options(server->control_endpoint()), stop.get_token());
  client.connect(hello_of());
  server->finish();
  server.reset();
  CHECK(client.next_work().state == WorkState::kFinished);
  // Whatever was under way is nobody's concern any more.
  CHECK(client.send_record(sample_record(), 12, 7).reject == Reject::kDuplicate);
  client.fail_ticket(12, "late");
}

TEST_CASE("heartbeats carry the actor's progress") {
  FakeLearner learner;
  Pair pair(learner);
  Heartbeat progress;
  progress.stage = "sampling";
  progress.steps_done = 31;
  progress.counters = {{"forwards", 31}};
  pair.client.set_progress(progress);
  CHECK(learner.wait_for([](const auto& heard) { return !heard.heartbeats.empty() && heard.heartbeats.back().steps_done == 31; }));
  const Heartbeat beat = learner.heard().heartbeats.back();
  CHECK(beat.actor_id == "actor-1");
  CHECK(beat.stage == "sampling");
  CHECK(beat.counters == progress.counters);
}

TEST_CASE("a stop request ends a waiting call within 200 ms") {
  FakeLearner learner;
  Pair pair(learner);
  std::chrono::steady_clock::time_point asked;
  std::thread stopper([&] {
    learner.wait_for([](const auto& heard) { return heard.ticket_requests > 0; });
    asked = std::chrono::steady_clock::now();
    pair.stop.request_stop();
  });
  check_error(
      ExitCode::kFailure, [&] { pair.client.next_work(); }, "stopped", "ticket");
  stopper.join();
  CHECK(std::chrono::steady_clock::now() - asked < milliseconds(200));
}

TEST_CASE("a learner that is not there is named after the deadline") {
  const TemporaryFolder folder;
  const std::stop_source stop;
  FleetClientOptions options = client_options("ipc://" + folder.file("nobody.sock"));
  options.connect_deadline = milliseconds(50);
  FleetClient client(options, stop.get_token());
  check_error(
      ExitCode::kNetwork, [&] { client.connect(hello_of()); }, "nobody.sock", "the welcome");
}

TEST_CASE("an address in use is refused with exit code 4 and its name") {
  FakeLearner learner;
  const TemporaryFolder folder;
  const FleetServer tcp(server_options("tcp://127.0.0.1:*", "tcp://127.0.0.1:*"), learner);
  check_error(
      ExitCode::kNetwork, [&] { FleetServer second(server_options(tcp.control_endpoint(), "tcp://127.0.0.1:*"), learner); },
      tcp.control_endpoint(), "in use");
  const std::string control = "ipc://" + folder.file("c"), weights = "ipc://" + folder.file("w");
  FleetServer ipc(server_options(control, weights), learner);
  ipc.start();
  check_error(
      ExitCode::kNetwork, [&] { FleetServer second(server_options(control, "ipc://" + folder.file("w2")), learner); }, control, "in use");
}

TEST_CASE("addresses that cannot be bound are refused by name") {
  FakeLearner learner;
  const auto bind = [&](const std::string& address) { FleetServer server(server_options(address, "tcp://127.0.0.1:*"), learner); };
  check_error(
      ExitCode::kUsage, [&] { bind("tcp://0.0.0.0:*"); }, "tcp://0.0.0.0:*", "other machines");
  check_error(
      ExitCode::kNetwork, [&] { bind("udp://x"); }, "udp://x", "tcp://HOST:PORT");
  check_error(
      ExitCode::kNetwork, [&] { bind("ipc:///no/such/folder/s"); }, "/no/such/folder/s");
  check_error(
      ExitCode::kNetwork, [&] { bind("ipc:///tmp/" + std::string(120, 'x')); }, "107 bytes");
}

}  // namespace nabla
