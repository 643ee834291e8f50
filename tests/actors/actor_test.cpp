#include "actors/actor.h"

#include "actors/install_weights.h"
#include "actors/sample_ticket.h"
#include "tests/actors/tickets.h"
#include "tests/common/error_check.h"
#include "tests/protocol/fake_learner.h"

#include <thread>

using namespace nabla;

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A learner of the tiny model that keeps the records it gets.
class TinyLearner : public FakeLearner {
 public:
  std::string step_table_id;
  std::vector<EncodedRecord> records;  // written by the server's thread; read after the actor has ended

  std::variant<Welcome, Refusal> on_hello(const Hello& hello) override {
    auto answer = FakeLearner::on_hello(hello);
    if (auto* welcome = std::get_if<Welcome>(&answer)) welcome->step_table_id = step_table_id;
    return answer;
  }
  Ack on_record(const std::string& actor_id, EncodedRecord record) override {
    records.push_back(record);
    return FakeLearner::on_record(actor_id, std::move(record));
  }
};

// A learner with its server, and what an actor needs to work for it.
struct Fleet {
  explicit Fleet(const RunConfig& run_config) : config(run_config), bench(make_workbench(config)) {
    learner.base_digest = bench.base_digest;
    learner.step_table_id = bench.table.id;
    learner.snapshots[0] = good_snapshot(bench, 0, some_lora(*bench.policy));
    FleetServerOptions server_options;
    server_options.heartbeat_interval = milliseconds(20);
    server_options.liveness = 100;  // a test on a busy machine may pause for long
    server = std::make_unique<FleetServer>(server_options, learner);
  }

  ActorOptions options() {
    ActorOptions actor;
    actor.connect = server->control_endpoint();
    actor.actor_id = "actor-1";
    actor.parse_config = [this](const std::string& yaml) {
      parsed = yaml;
      return config;
    };
    actor.heartbeat_interval = milliseconds(20);
    actor.connect_deadline = actor.patience = milliseconds(10'000);
    return actor;
  }

  RunConfig config;
  Workbench bench;
  TinyLearner learner;
  std::unique_ptr<FleetServer> server;
  std::string parsed;
};

// An actor on a thread of its own.
class RunningActor {
 public:
  explicit RunningActor(const ActorOptions& options)
      : thread_([this, options] {
          try {
            run_actor(options, stop_.get_token());
          } catch (...) {
            error_ = std::current_exception();
          }
        }) {}
  ~RunningActor() {
    stop_.request_stop();
    if (thread_.joinable()) thread_.join();
  }
  void request_stop() { stop_.request_stop(); }
  // Waits for its end and throws what ended it.
  void finish() {
    thread_.join();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::stop_source stop_;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("an actor works on sample and evaluation tickets until the run is finished, and tells what it cost") {
  const TinyModel model;
  Fleet fleet(model.config());
  Ticket second = three_slots(5);
  for (auto& order : second.slots) order.slot += 10;
  fleet.learner.tickets = {three_slots(4), second, four_pictures(6)};
  fleet.server->start();
  RunningActor actor(fleet.options());
  REQUIRE(fleet.learner.wait_for([](const auto& heard) { return heard.evaluations.size() == 1; }));
  fleet.server->finish();
  actor.finish();

  CHECK(fleet.parsed == "seed: 1\n");
  const auto heard = fleet.learner.heard();
  CHECK(heard.records == std::vector<std::int64_t>{20, 21, 22, 30, 31, 32});
  CHECK(heard.ticket_failures.empty());
  REQUIRE(heard.hellos.size() == 2);
  CHECK(heard.hellos[0].base_digest.empty());
  CHECK(heard.hellos[1].base_digest == fleet.bench.base_digest);
  const EvaluationResult& evaluation = heard.evaluations[0];
  CHECK(evaluation.actor_id == "actor-1");
  CHECK(evaluation.version == 0);
  CHECK(evaluation.digest == fleet.learner.snapshots[0].digest);
  for (const auto& record : fleet.learner.records) {
    const RecordHeader header = decode_record(record, {}).record.header;
    CHECK(header.run_id == "run-1");
    CHECK(header.actor_id == "actor-1");
    CHECK(header.digest == fleet.learner.snapshots[0].digest);
  }
  // The heartbeat of a delivery comes before it, so the last one told all; 3 slots of 10 steps and 12 points, 9 of them not terminal.
  const auto& counters = heard.heartbeats.back().counters;
  CHECK(counters.at("actor_unet_forwards") == 2 * (30 + 12 + 12 + 9));
  CHECK(counters.at("actor_unet_backwards") == 2 * (3 * 12 + 9));
  CHECK(counters.at("actor_decoder_backwards") == 2 * 24);
  CHECK(counters.at("actor_reward_forwards") == 2 * 24);
  CHECK(counters.at("evaluation_unet_forwards") == 40);
  CHECK(counters.at("evaluation_unet_backwards") == 0);
}

TEST_CASE("an actor's records are those of the ticket, the weights and the configuration") {
  const TinyModel model;
  Fleet fleet(model.config());
  fleet.learner.tickets = {three_slots(4)};
  fleet.server->start();
  RunningActor actor(fleet.options());
  REQUIRE(fleet.learner.wait_for([](const auto& heard) { return heard.records.size() == 3; }));
  fleet.server->finish();
  actor.finish();
  Workbench bench = make_workbench(fleet.config);
  install_weights(bench, fleet.learner.snapshots[0]);
  Progress progress = silent_progress();
  const auto expected = sample_ticket(bench, fleet.config, three_slots(4), {"run-1", "actor-1", 0, bench.policy->digest()}, progress);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(same_bytes(fleet.learner.records[i].header, expected[i].header));
    CHECK(same_bytes(fleet.learner.records[i].data, expected[i].data));
  }
}

TEST_CASE("an actor asks for the states of a relabel ticket's slots and delivers what its weights make of them") {
  const TinyModel model;
  Fleet fleet(model.config());
  const PackedTensors states = [] {
    const Tensor x = draw({4, 4, 8, 8}, 50), y = draw({4, 4, 8, 8}, 51);
    const auto source = [](const Tensor& tensor) {
      return TensorSource{DType::kF32, tensor.sizes().vec(),
                          std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes())};
    };
    return pack_tensors({{"x", source(x)}, {"y", source(y)}});
  }();
  for (const std::int64_t slot : {20, 21, 22}) fleet.learner.states[slot] = {slot, states.table, states.data};
  Ticket relabel = three_slots(4);
  relabel.kind = TicketKind::kRelabel;
  fleet.learner.tickets = {relabel};
  fleet.server->start();
  RunningActor actor(fleet.options());
  REQUIRE(fleet.learner.wait_for([](const auto& heard) { return heard.records.size() == 3; }));
  fleet.server->finish();
  actor.finish();
  CHECK(fleet.learner.heard().ticket_failures.empty());
  for (const auto& record : fleet.learner.records) {
    const RecordHeader header = decode_record(record, {}).record.header;
    CHECK(header.kind == TicketKind::kRelabel);
    CHECK(header.digest == fleet.learner.snapshots[0].digest);
    CHECK(header.tensors.size() == 3);
  }
}

TEST_CASE("a version that fails to install is given back, and the version before is installed anew") {
  const TinyModel model;
  Fleet fleet(model.config());
  Snapshot bad = good_snapshot(fleet.bench, 1, some_lora(*fleet.bench.policy, 0.3, 700));
  bad.digest = fleet.learner.snapshots[0].digest;
  fleet.learner.snapshots[1] = bad;
  fleet.learner.tickets = {three_slots(4, 0), three_slots(5, 1), three_slots(4, 0)};
  fleet.server->start();
  RunningActor actor(fleet.options());
  REQUIRE(fleet.learner.wait_for([](const auto& heard) { return heard.records.size() == 6; }));
  fleet.server->finish();
  actor.finish();
  const auto heard = fleet.learner.heard();
  REQUIRE(heard.ticket_failures.size() == 1);
  CHECK(heard.ticket_failures[0].starts_with("actor-1 5 [weights] version 1"));
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(same_bytes(fleet.learner.records[i].data, fleet.learner.records[i + 3].data));
    CHECK(same_bytes(fleet.learner.records[i].header, fleet.learner.records[i + 3].header));
  }
}

TEST_CASE("tickets that cannot be served are given back with the reason, and work goes on") {
  const TinyModel model;
  Fleet fleet(model.config());
  Ticket relabel = three_slots(5), empty = three_slots(6);
  relabel.kind = TicketKind::kRelabel;
  empty.slots.clear();
  fleet.learner.tickets = {relabel, empty, three_slots(7, 9), three_slots(8)};
  fleet.server->start();
  RunningActor actor(fleet.options());
  REQUIRE(fleet.learner.wait_for([](const auto& heard) { return heard.records.size() == 3; }));
  fleet.server->finish();
  actor.finish();
  const auto failures = fleet.learner.heard().ticket_failures;
  REQUIRE(failures.size() == 3);
  CHECK(failures[0].starts_with("actor-1 5 "));
  CHECK(failures[0].find("does not want slot 20 relabelled") != std::string::npos);
  CHECK(failures[1].find("no slots") != std::string::npos);
  CHECK(failures[2].find("version 9") != std::string::npos);
}

TEST_CASE("an actor with another base model is refused with the learner's exit code") {
  const TinyModel model, other(50);
  Fleet fleet(model.config());
  fleet.server->start();
  fleet.config.pretrained.model = other.path();
  check_error(
      ExitCode::kData, [&] { RunningActor(fleet.options()).finish(); }, fleet.bench.base_digest, other.open().digest());
}

TEST_CASE("an actor whose sampler differs from the run's ends with both step tables") {
  const TinyModel model;
  Fleet fleet(model.config());
  fleet.server->start();
  fleet.config.sampling.num_steps = 12;
  check_error(
      ExitCode::kUsage, [&] { RunningActor(fleet.options()).finish(); }, "ddim/10/", "ddim/12/", "sampling");
}

// Loading counts steps too, but has no ticket.
bool is_sampling(const FakeLearner::Heard& heard) {
  return !heard.heartbeats.empty() && heard.heartbeats.back().ticket_id > 0 && heard.heartbeats.back().steps_done > 0;
}

TEST_CASE("an actor stopped in the middle of a ticket gives it back within two seconds") {
  const TinyModel model;
  RunConfig config = model.config();
  config.sampling.num_steps = 900;
  Fleet fleet(config);
  fleet.learner.tickets = {three_slots()};
  for (auto& order : fleet.learner.tickets[0].slots) order.transitions.back() = 899;
  fleet.server->start();
  RunningActor actor(fleet.options());
  REQUIRE(fleet.learner.wait_for(is_sampling));
  const auto start = steady_clock::now();
  actor.request_stop();
  actor.finish();
  CHECK(steady_clock::now() - start < milliseconds(2000));
  REQUIRE(fleet.learner.wait_for([](const auto& heard) { return heard.gone.size() == 1; }));
  CHECK(fleet.learner.heard().gone[0] == "actor-1: said goodbye");
  CHECK(fleet.learner.heard().records.empty());
}

// Two tickets of 900 steps each.
void give_long_work(Fleet& fleet) {
  fleet.learner.tickets = {three_slots(4), three_slots(5)};
  for (auto& ticket : fleet.learner.tickets) {
    for (auto& order : ticket.slots) order.transitions.back() = 899;
  }
}

TEST_CASE("an actor that is asked to leave delivers the ticket in hand and takes no other") {
  const TinyModel model;
  RunConfig config = model.config();
  config.sampling.num_steps = 900;
  Fleet fleet(config);
  give_long_work(fleet);
  fleet.server->start();
  std::stop_source leave;
  ActorOptions options = fleet.options();
  options.leave = leave.get_token();
  RunningActor actor(options);
  REQUIRE(fleet.learner.wait_for(is_sampling));
  leave.request_stop();
  CHECK_NOTHROW(actor.finish());
  REQUIRE(fleet.learner.wait_for([](const auto& heard) { return heard.gone.size() == 1; }));
  CHECK(fleet.learner.heard().records.size() == 3);
  CHECK(fleet.learner.heard().gone[0] == "actor-1: said goodbye");
}

TEST_CASE("an actor that is asked to leave gives its ticket back when that takes longer than a ticket may, or when the run is over") {
  const TinyModel model;
  RunConfig config = model.config();
  config.sampling.num_steps = 900;
  for (const bool over : {false, true}) {
    config.fleet.ticket_timeout_s = over ? 60.0 : 0.001;
    Fleet fleet(config);
    give_long_work(fleet);
    fleet.server->start();
    std::stop_source leave;
    std::int64_t steps = 0;
    ActorOptions options = fleet.options();
    options.leave = leave.get_token();
    options.on_progress = [&steps](const Heartbeat& heartbeat) { steps = heartbeat.steps_done; };
    RunningActor actor(options);
    REQUIRE(fleet.learner.wait_for(is_sampling));
    if (over) fleet.server->finish();
    if (over) fleet.server.reset();  // says that the run is over
    if (!over) leave.request_stop();
    CHECK_NOTHROW(actor.finish());
    CHECK(steps < 900);
    CHECK(fleet.learner.heard().records.empty());
  }
}

TEST_CASE("an idle actor that is asked to leave goes at once") {
  const TinyModel model;
  Fleet fleet(model.config());
  fleet.server->start();
  std::stop_source leave;
  ActorOptions options = fleet.options();
  options.leave = leave.get_token();
  RunningActor actor(options);
  REQUIRE(fleet.learner.wait_for([](const auto& heard) { return heard.ticket_requests > 0; }));
  leave.request_stop();
  CHECK_NOTHROW(actor.finish());
  REQUIRE(fleet.learner.wait_for([](const auto& heard) { return heard.gone.size() == 1; }));
  CHECK(fleet.learner.heard().gone[0] == "actor-1: said goodbye");
}

TEST_CASE("an actor stopped while it waits for its learner's folder or for a ticket ends quietly") {
  const TinyModel model;
  Fleet fleet(model.config());
  ActorOptions nowhere = fleet.options();
  nowhere.connect = model.path();
  RunningActor lost(nowhere);
  fleet.server->start();
  RunningActor idle(fleet.options());
  REQUIRE(fleet.learner.wait_for([](const auto& heard) { return heard.ticket_requests > 0; }));
  lost.request_stop();
  idle.request_stop();
  CHECK_NOTHROW(lost.finish());
  CHECK_NOTHROW(idle.finish());
}

TEST_CASE("an actor gives up within its deadline when no learner is there, and when it goes away") {
  const TinyModel model;
  Fleet fleet(model.config());
  ActorOptions options = fleet.options();
  options.connect_deadline = options.patience = milliseconds(400);
  const auto start = steady_clock::now();
  check_error(
      ExitCode::kNetwork, [&] { RunningActor(options).finish(); }, "no word from the learner", options.connect);
  CHECK(steady_clock::now() - start < milliseconds(3000));

  fleet.server->start();
  RunningActor actor(options);
  REQUIRE(fleet.learner.wait_for([](const auto& heard) { return heard.ticket_requests > 0; }));
  fleet.server.reset();
  const auto gone = steady_clock::now();
  check_error(
      ExitCode::kNetwork, [&] { actor.finish(); }, "no word from the learner", options.connect);
  CHECK(steady_clock::now() - gone < milliseconds(3000));
}

TEST_CASE("a configuration that cannot be read ends the actor with its error") {
  const TinyModel model;
  Fleet fleet(model.config());
  fleet.server->start();
  ActorOptions options = fleet.options();
  options.parse_config = [](const std::string&) -> RunConfig { throw usage_error("[config] no such key"); };
  check_error(
      ExitCode::kUsage, [&] { RunningActor(options).finish(); }, "no such key");
}
