#include "learner/ingest.h"

#include "common/error.h"
#include "protocol/fleet_client.h"
#include "tests/common/small_disk.h"
#include "tests/learner_core/fixture.h"
#include "tests/testing.h"

#include <set>

using namespace nabla;
using namespace nabla::testing;

namespace {

using std::chrono::milliseconds;

// Twenty updates of eight slots, all of which may be asked for at once.
RunConfig many_slots() {
  RunConfig config = small_config();
  config.training.updates = 20;
  config.fleet.max_policy_lag = 30;
  return config;
}

// A learner without its training: ingest behind sockets, with its log in a folder.
struct Learner {
  Learner(const std::string& folder, Durability durability)
      : log(TrajectoryLog::create({folder, durability}, {"run-1", "contract", ""})),
        plan(make_plan(many_slots())),
        queue(plan.slots_per_update()),
        ingest(options(), plan, small_rules(), journal, queue),
        server({}, ingest) {
    ingest.publish(empty_snapshot(0));
    server.start();
  }
  IngestOptions options() {
    IngestOptions options;
    options.welcome.run_id = "run-1";
    options.welcome.base_digest = "base-1";
    options.append = [this](const LogEntry& entry) { log->append(entry); };
    options.clock = [] { return 0.0; };
    return options;
  }

  std::unique_ptr<TrajectoryLog> log;
  VersionJournal journal;
  SlotPlan plan;
  TrajectoryQueue queue;
  Ingest ingest;
  FleetServer server;
};

FleetClientOptions client_options(const std::string& endpoint) {
  FleetClientOptions options;
  options.control_endpoint = endpoint;
  options.actor_id = "actor-1";
  return options;
}

Hello hello_of(const std::string& base_digest) { return {kProtocolVersion, "actor-1", "host", 1, base_digest}; }

// Works until the learner fails; the slots that were acknowledged.
std::set<std::int64_t> work_until_failure(Learner& learner, FleetClient& client) {
  std::set<std::int64_t> acknowledged;
  client.connect(hello_of("base-1"));
  try {
    while (true) {
      const Work work = client.next_work();
      for (const auto& order : work.ticket.value().slots) {
        const Ack ack = client.send_record(make_record(learner.plan, order.slot), work.ticket->id, order.slot);
        if (ack.reject == Reject::kNone) acknowledged.insert(order.slot);
      }
    }
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kFailure);
    CHECK(std::string(error.what()).find("disk is full") != std::string::npos);
  }
  return acknowledged;
}

std::set<std::int64_t> slots_in_log(const std::string& folder) {
  std::set<std::int64_t> slots;
  TrajectoryLogReader reader(folder);
  while (const auto entry = reader.next()) {
    const auto* record = std::get_if<EncodedRecord>(&*entry);
    if (record == nullptr) continue;
    const DecodeResult decoded = decode_record(*record, {});
    REQUIRE(decoded.reject == Reject::kNone);
    slots.insert(decoded.record.header.slot);
  }
  return slots;
}

}  // namespace

TEST_CASE("a full disk under the log ends the run within five seconds and loses nothing that was acknowledged") {
  for (const Durability durability : {Durability::kPageCache, Durability::kFsync}) {
    on_small_disk(std::uint64_t{128} << 10, [&](const std::string& folder) {
      Learner learner(folder, durability);
      const std::stop_source stop;
      FleetClient client(client_options(learner.server.control_endpoint()), stop.get_token());
      const auto acknowledged = work_until_failure(learner, client);
      const auto noticed = std::chrono::steady_clock::now();
      CHECK(!learner.queue.take_for(19, std::chrono::minutes(1)));  // the training loop is woken, and finds the reason
      REQUIRE(learner.ingest.failure());
      CHECK_THROWS_WITH(std::rethrow_exception(learner.ingest.failure()), doctest::Contains("disk is full"));
      CHECK(learner.ingest.on_ticket_request("actor-2").state == WorkState::kWait);
      CHECK(std::chrono::steady_clock::now() - noticed < std::chrono::seconds(5));
      CHECK(acknowledged.size() > 4);
      CHECK(acknowledged.size() < 160);
      CHECK(slots_in_log(folder) == acknowledged);
    });
  }
}

TEST_CASE("an actor with another base model is told both digests over the wire, and works for nobody") {
  const TemporaryFolder folder;
  Learner learner(folder.path(), Durability::kPageCache);
  const std::stop_source stop;
  FleetClient client(client_options(learner.server.control_endpoint()), stop.get_token());
  CHECK_THROWS_WITH_AS(client.connect(hello_of("base-2")), doctest::Contains("has digest base-2, this run's has base-1"), Error);
  CHECK(learner.ingest.connected_actors() == 0);
}
