#include "learner/ingest.h"

#include "common/error.h"
#include "protocol/codec.h"
#include "tests/learner_core/fixture.h"
#include "tests/testing.h"

using namespace nabla;
using namespace nabla::testing;

namespace {

// An ingest with a log in memory and a clock that the test moves.
struct Fleet {
  explicit Fleet(const RunConfig& run_config = small_config())
      : config(run_config),
        plan(make_plan(config)),
        queue(plan.slots_per_update()),
        ingest(options(), plan, small_rules(), journal, queue) {
    publish(0);
  }

  IngestOptions options() {
    IngestOptions options;
    options.welcome.run_id = "run-1";
    options.welcome.base_digest = "base-1";
    options.lockstep = config.fleet.lockstep;
    options.keep_versions = config.fleet.max_policy_lag + 1;
    options.issuer = IssuerOptions::from(config.fleet);
    options.append = [this](const LogEntry& entry) {
      if (disk_full) throw failure("[log] /queue/q-0.seg: no space left on device");
      log.push_back(entry);
    };
    options.clock = [this] { return now; };
    options.on_failure = [this] { ++failures_told; };
    return options;
  }

  Ticket take(const std::string& actor) {
    const Work work = ingest.on_ticket_request(actor);
    REQUIRE(work.state == WorkState::kTicket);
    return *work.ticket;
  }
  Ack send(const std::string& actor, std::int64_t slot, RecordChange change = {}) {
    change.actor = actor;
    return ingest.on_record(actor, make_record(plan, slot, change));
  }
  void send_all(const std::string& actor, const Ticket& ticket, std::int64_t version = 0) {
    for (const auto& order : ticket.slots) CHECK(send(actor, order.slot, {.version = version}).reject == Reject::kNone);
  }
  template <class Entry>
  std::int64_t logged() const {
    return std::count_if(log.begin(), log.end(), [](const LogEntry& entry) { return std::holds_alternative<Entry>(entry); });
  }
  void publish(std::int64_t version) { ingest.publish(empty_snapshot(version)); }

  RunConfig config;
  double now = 0;
  bool disk_full = false;
  int failures_told = 0;
  std::vector<LogEntry> log;
  VersionJournal journal;
  SlotPlan plan;
  TrajectoryQueue queue;
  Ingest ingest;
};

EvaluationResult answer_to(const Ticket& ticket, const std::string& digest, float reward) {
  EvaluationResult result;
  result.ticket_id = ticket.id;
  result.version = ticket.version;
  result.digest = digest;
  const auto count = static_cast<std::int64_t>(ticket.slots.size());
  for (const auto& order : ticket.slots) result.pictures.push_back(order.slot);
  std::vector<float> rewards(ticket.slots.size());
  for (std::size_t i = 0; i < rewards.size(); ++i) rewards[i] = reward + static_cast<float>(ticket.slots[i].slot);
  const std::vector<std::uint8_t> pixels(ticket.slots.size() * 3 * 4, 7);
  const auto packed = pack_tensors({{"reward", {DType::kF32, {count}, std::as_bytes(std::span(rewards))}},
                                    {"image", {DType::kU8, {count, 3, 2, 2}, std::as_bytes(std::span(pixels))}}});
  result.table = packed.table;
  result.data = packed.data;
  return result;
}

}  // namespace

TEST_CASE("a valid record is in the log before it is acknowledged, and reaches the queue") {
  Fleet fleet;
  for (const auto* actor : {"a", "b"}) fleet.send_all(actor, fleet.take(actor));
  CHECK(fleet.logged<EncodedRecord>() == 8);
  CHECK(fleet.queue.take_for(0, kAtOnce)->records.size() == 8);
}

TEST_CASE("a version is in the log before actors hear of it") {
  Fleet fleet;
  CHECK(fleet.logged<PublishEntry>() == 1);
  fleet.disk_full = true;
  CHECK_THROWS_AS(fleet.publish(1), Error);
  CHECK(fleet.journal.newest().first == 0);
  CHECK(!fleet.ingest.on_get_snapshot(1));
}

TEST_CASE("a second record of a slot is acknowledged as a duplicate and trained once") {
  Fleet fleet;
  fleet.take("a");
  CHECK(fleet.send("a", 0).reject == Reject::kNone);
  CHECK(fleet.send("a", 0).reject == Reject::kDuplicate);
  CHECK(fleet.send("b", 0, {.offset = 1}).reject == Reject::kDuplicate);
  CHECK(fleet.logged<EncodedRecord>() == 1);
  CHECK(fleet.ingest.duplicates() == 2);
  CHECK(!fleet.ingest.failure());
}

TEST_CASE("in lockstep a duplicate with other bytes stops the run") {
  RunConfig config = small_config();
  config.fleet.lockstep = true;
  Fleet fleet(config);
  fleet.take("a");
  CHECK(fleet.send("a", 0).reject == Reject::kNone);
  CHECK(fleet.send("b", 0).reject == Reject::kDuplicate);  // the same bytes by another actor
  CHECK(!fleet.ingest.failure());
  CHECK(fleet.send("b", 0, {.offset = 1}).reject == Reject::kNondeterministicActor);
  REQUIRE(fleet.ingest.failure());
  CHECK_THROWS_WITH(std::rethrow_exception(fleet.ingest.failure()), doctest::Contains("nondeterministic_actor"));
  CHECK(fleet.queue.closed());
}

TEST_CASE("a record nobody asked for is refused") {
  Fleet fleet;
  CHECK(fleet.send("a", 0).reject == Reject::kUnknownTicket);
  CHECK(fleet.logged<EncodedRecord>() == 0);
}

TEST_CASE("a slot refused for its content is discarded with its reason") {
  Fleet fleet;
  const Ticket ticket = fleet.take("a");
  CHECK(fleet.send("a", 0, {.poison = std::numeric_limits<float>::infinity()}).reject == Reject::kNonFinite);
  REQUIRE(fleet.logged<DiscardEntry>() == 1);
  const auto& entry = std::get<DiscardEntry>(fleet.log.back());
  CHECK(entry.slot == 0);
  CHECK(entry.reason.starts_with("non_finite:"));
  CHECK(fleet.send("a", 0).reject == Reject::kUnknownSlot);
  for (const std::int64_t slot : {1, 2, 3}) CHECK(fleet.send("a", slot).reject == Reject::kNone);
  fleet.send_all("a", fleet.take("a"));
  CHECK(fleet.queue.take_for(0, kAtOnce)->records.size() == 7);
  CHECK(fleet.ingest.ledger(0).discarded == std::map<std::string, std::int64_t>{{"non_finite", 1}});
}

TEST_CASE("a record that was damaged on the way discards nothing, whatever it says, and counts when it comes whole") {
  Fleet fleet;
  fleet.take("a");
  RecordHeader header = decode_record(make_record(fleet.plan, 0), {}).record.header;
  header.transitions.clear();
  const EncodedRecord whole = make_record(fleet.plan, 0);
  EncodedRecord damaged = whole;
  damaged.header = encode(header);
  CHECK(fleet.ingest.on_record("a", damaged).reject == Reject::kBadChecksum);
  CHECK(fleet.logged<DiscardEntry>() == 0);
  CHECK(fleet.ingest.on_record("a", whole).reject == Reject::kNone);
  for (const std::int64_t slot : {1, 2, 3}) CHECK(fleet.send("a", slot).reject == Reject::kNone);
  CHECK(fleet.ingest.failed_attempts() == 0);
}

TEST_CASE("a stranger cannot have somebody else's slot discarded") {
  Fleet fleet;
  fleet.take("a");
  CHECK(fleet.send("b", 0, {.poison = std::numeric_limits<float>::infinity()}).reject == Reject::kNonFinite);
  CHECK(fleet.logged<DiscardEntry>() == 0);
  CHECK(fleet.send("a", 0).reject == Reject::kNone);
}

TEST_CASE("a full disk stops acknowledgements and tickets, and names the file") {
  Fleet fleet;
  fleet.take("a");
  fleet.disk_full = true;
  CHECK_THROWS_WITH(fleet.send("a", 0), doctest::Contains("/queue/q-0.seg"));
  REQUIRE(fleet.ingest.failure());
  fleet.disk_full = false;
  CHECK_THROWS(fleet.send("a", 1));
  CHECK(fleet.ingest.on_ticket_request("b").state == WorkState::kWait);
  CHECK(fleet.logged<EncodedRecord>() == 0);
  CHECK(!fleet.queue.take_for(0, kAtOnce));
}

TEST_CASE("the first failure is told once, to whoever interrupts the update in hand") {
  Fleet fleet;
  fleet.take("a");
  CHECK(fleet.failures_told == 0);
  fleet.disk_full = true;
  for (const std::int64_t slot : {0, 1, 2}) CHECK_THROWS(fleet.send("a", slot));
  CHECK(fleet.failures_told == 1);
}

TEST_CASE("actors with another base model are refused with both digests") {
  Fleet fleet;
  Hello hello;
  hello.actor_id = "a";
  CHECK(std::holds_alternative<Welcome>(fleet.ingest.on_hello(hello)));  // the first hello only asks for the configuration
  CHECK(fleet.ingest.connected_actors() == 0);
  hello.base_digest = "base-2";
  const auto answer = fleet.ingest.on_hello(hello);
  REQUIRE(std::holds_alternative<Refusal>(answer));
  CHECK(std::get<Refusal>(answer).reason.find("base-1") != std::string::npos);
  CHECK(std::get<Refusal>(answer).reason.find("base-2") != std::string::npos);
  hello.base_digest = "base-1";
  CHECK(std::holds_alternative<Welcome>(fleet.ingest.on_hello(hello)));
  CHECK(fleet.ingest.connected_actors() == 1);
}

TEST_CASE("the ticket of a dead actor goes to another, and the late record is a duplicate") {
  Fleet fleet;
  const Ticket lost = fleet.take("a");
  fleet.send("a", 0);
  fleet.ingest.on_actor_gone("a", "not heard of for 3000 ms");
  const Ticket again = fleet.take("b");
  CHECK(again.id == lost.id);
  CHECK(fleet.send("b", 0).reject == Reject::kDuplicate);
  for (const std::int64_t slot : {1, 2, 3}) CHECK(fleet.send("b", slot).reject == Reject::kNone);
  CHECK(fleet.send("a", 3).reject == Reject::kDuplicate);
}

TEST_CASE("a record that cannot be appended is not acknowledged, not even as a duplicate later") {
  Fleet fleet;
  fleet.take("a");
  CHECK(fleet.send("a", 0).reject == Reject::kNone);
  fleet.disk_full = true;
  CHECK_THROWS(fleet.send("a", 1));
  fleet.disk_full = false;
  CHECK_THROWS(fleet.send("a", 1));
  CHECK_THROWS(fleet.send("a", 0));  // although it is in the log: a run that failed acknowledges nothing
  CHECK(fleet.logged<EncodedRecord>() == 1);
  CHECK(fleet.queue.held_slots() == 1);
  CHECK(fleet.ingest.ledger(0).residual() == 0);
}

TEST_CASE("the last missing ticket of an update is doubled, and the slower answer is a duplicate") {
  RunConfig config = small_config();
  config.fleet.max_policy_lag = 0;
  Fleet fleet(config);
  const Ticket fast = fleet.take("a"), slow = fleet.take("b");
  fleet.now = 10;
  fleet.send_all("a", fast);
  CHECK(fleet.ingest.on_ticket_request("a").state == WorkState::kWait);
  fleet.now = 21;
  CHECK(fleet.take("a").id == slow.id);
  fleet.send_all("a", slow);
  for (const auto& order : slow.slots) CHECK(fleet.send("b", order.slot).reject == Reject::kDuplicate);
  CHECK(fleet.queue.take_for(0, kAtOnce)->records.size() == 8);
  CHECK(fleet.logged<EncodedRecord>() == 8);
  CHECK(fleet.ingest.ledger(0).residual() == 0);
}

TEST_CASE("a ticket that fails for the last time is discarded in the log, and a third such slot stops the run") {
  Fleet fleet;
  for (int attempt = 0; attempt < 3; ++attempt) {
    CHECK(!fleet.ingest.failure());
    const Ticket ticket = fleet.take("a");
    CHECK(ticket.id == 1);
    if (attempt == 0) fleet.send("a", 0);
    fleet.ingest.on_ticket_failed("a", ticket.id, "the reward failed");
  }
  CHECK(fleet.logged<DiscardEntry>() == 3);
  CHECK(std::get<DiscardEntry>(fleet.log.back()).reason.find("the reward failed") != std::string::npos);
  REQUIRE(fleet.ingest.failure());
  CHECK_THROWS_WITH(std::rethrow_exception(fleet.ingest.failure()), doctest::Contains("fleet.max_discard_share"));
  CHECK(fleet.queue.closed());
  CHECK(fleet.ingest.on_ticket_request("b").state == WorkState::kWait);
  CHECK(fleet.ingest.ledger(0).discarded == std::map<std::string, std::int64_t>{{"attempts", 3}});
  CHECK(fleet.ingest.ledger(0).residual() == 0);
}

TEST_CASE("a larger share of discards is allowed where the configuration says so") {
  RunConfig config = small_config();
  config.fleet.max_discard_share = 1.0;
  Fleet fleet(config);
  fleet.take("a");
  for (const std::int64_t slot : {0, 1, 2, 3}) fleet.send("a", slot, {.poison = std::numeric_limits<float>::infinity()});
  CHECK(fleet.logged<DiscardEntry>() == 4);
  CHECK(!fleet.ingest.failure());
  fleet.send_all("a", fleet.take("a"));
  CHECK(fleet.queue.take_for(0, kAtOnce)->records.size() == 4);
}

TEST_CASE("a silent actor's ticket is issued again after the timeout") {
  Fleet fleet;
  const Ticket lost = fleet.take("a");
  fleet.now = 59;
  fleet.ingest.on_heartbeat({.actor_id = "a",
                             .ticket_id = lost.id,
                             .stage = "sampling",
                             .steps_done = 3,
                             .version = 0,
                             .digest = "",
                             .peak_rss_bytes = 0,
                             .stage_seconds = {},
                             .counters = {}});
  fleet.now = 118;
  fleet.ingest.on_tick();
  CHECK(fleet.take("b").id != lost.id);
  fleet.now = 120;
  fleet.ingest.on_tick();
  CHECK(fleet.take("c").id == lost.id);
}

TEST_CASE("the ledger closes at every point of a run with losses") {
  Fleet fleet;
  const auto residual = [&](std::int64_t trained) { return fleet.ingest.ledger(trained).residual(); };
  const Ticket first = fleet.take("a"), second = fleet.take("b");
  CHECK(residual(0) == 0);
  fleet.send_all("a", first);
  fleet.send("b", 4);
  fleet.send("b", 5, {.poison = std::numeric_limits<float>::infinity()});
  CHECK(residual(0) == 0);
  fleet.ingest.on_actor_gone("b", "killed");
  const Ticket again = fleet.take("a");
  CHECK(again.id == second.id);
  for (const std::int64_t slot : {6, 7}) fleet.send("a", slot);
  const auto batch = fleet.queue.take_for(0, kAtOnce);
  REQUIRE(batch->records.size() == 7);
  CHECK(residual(0) == 0);
  std::vector<std::int64_t> slots;
  for (const auto& record : batch->records) slots.push_back(record->header.slot);
  fleet.ingest.trained(0, slots);
  const LedgerSummary ledger = fleet.ingest.ledger(7);
  CHECK(ledger.issued == 8);
  CHECK(ledger.outstanding == 0);
  CHECK(ledger.residual() == 0);
  CHECK(fleet.logged<TrainedEntry>() == 1);
  CHECK(residual(6) == 1);  // a slot that vanished would show
}

TEST_CASE("snapshots are held while a ticket names them and for the policy lag") {
  RunConfig config = small_config();
  config.fleet.lockstep = true;
  Fleet fleet(config);  // keeps the last two
  const Ticket held = fleet.take("a");
  CHECK(held.version == 0);
  for (const std::int64_t version : {1, 2, 3}) fleet.publish(version);
  CHECK(fleet.ingest.on_get_snapshot(0));
  CHECK(!fleet.ingest.on_get_snapshot(1));
  CHECK(fleet.ingest.on_get_snapshot(2));
  fleet.send_all("a", held);
  fleet.send_all("b", fleet.take("b"));
  fleet.publish(4);
  CHECK(!fleet.ingest.on_get_snapshot(0));
}

TEST_CASE("an evaluation is added up in picture order when its last ticket is answered") {
  Fleet fleet;
  fleet.ingest.request_evaluation(0, 0, 0.25);
  const Ticket first = fleet.take("a"), second = fleet.take("b");
  CHECK(fleet.ingest.on_evaluation("b", answer_to(second, "digest-9", 1)).reject == Reject::kBadDigest);
  CHECK(fleet.ingest.on_evaluation("b", answer_to(second, "digest-0", 1)).reject == Reject::kNone);
  CHECK(fleet.ingest.take_finished_evaluations(std::chrono::milliseconds(0)).empty());
  CHECK(fleet.ingest.evaluations_pending());
  CHECK(fleet.ingest.on_evaluation("a", answer_to(first, "digest-0", 1)).reject == Reject::kNone);
  CHECK(fleet.ingest.on_evaluation("a", answer_to(first, "digest-0", 1)).reject == Reject::kDuplicate);
  const auto finished = fleet.ingest.take_finished_evaluations(std::chrono::milliseconds(0));
  REQUIRE(finished.size() == 1);
  CHECK(finished[0].rewards == std::vector<double>{1, 2, 3, 4, 5, 6});
  CHECK(finished[0].reward_mean == doctest::Approx(3.5));
  CHECK(finished[0].reward_std == doctest::Approx(std::sqrt(35.0 / 12.0)));
  CHECK(finished[0].drift == 0.25);
  CHECK(finished[0].images.size() == 6);
  CHECK(finished[0].prompts[3] == "a gray ring");
  CHECK(!finished[0].has_true_reward);
}

TEST_CASE("the status of a run adds up at every moment") {
  Fleet fleet;
  const auto check_ledger = [&](std::int64_t issued, std::int64_t trained, std::int64_t outstanding) {
    const FleetStatus status = fleet.ingest.status();
    CHECK(status.ledger.issued == issued);
    CHECK(status.ledger.trained == trained);
    CHECK(status.ledger.outstanding == outstanding);
    CHECK(status.ledger.residual() == 0);
  };
  check_ledger(0, 0, 0);
  for (const auto* actor : {"a", "b"}) {
    const Ticket ticket = fleet.take(actor);
    check_ledger(ticket.slots.back().slot + 1, 0, ticket.slots.back().slot + 1);
    fleet.send_all(actor, ticket);
  }
  check_ledger(8, 0, 8);
  CHECK(fleet.ingest.status().queue_slots == 8);
  CHECK(fleet.ingest.status().queue_bytes > 0);
  fleet.ingest.trained(0, {0, 1, 2, 3, 4, 5, 6, 7});
  check_ledger(8, 8, 0);
  CHECK(fleet.ingest.status().queue_bytes == 0);
}

TEST_CASE("the status lists actors with what they said last, and open tickets with who holds them") {
  Fleet fleet;
  fleet.ingest.on_hello({.actor_id = "a", .host = "box", .pid = 7, .base_digest = "base-1"});
  fleet.now = 1;
  const Ticket ticket = fleet.take("a");
  Heartbeat beat;
  beat.actor_id = "a";
  beat.ticket_id = ticket.id;
  beat.stage = "sampling";
  beat.steps_done = 3;
  fleet.ingest.on_heartbeat(beat);
  fleet.now = 3;
  FleetStatus status = fleet.ingest.status();
  REQUIRE(status.actors.size() == 1);
  CHECK(status.actors[0].connected);
  CHECK(status.actors[0].host == "box");
  CHECK(status.actors[0].pid == 7);
  CHECK(status.actors[0].heard_s == 2);
  CHECK(status.actors[0].stage == "sampling");
  REQUIRE(status.tickets.size() == 1);
  CHECK(status.tickets[0].id == ticket.id);
  CHECK(status.tickets[0].missing == 4);
  REQUIRE(status.tickets[0].holders.size() == 1);
  CHECK(status.tickets[0].holders[0].actor == "a");
  CHECK(status.tickets[0].holders[0].held_s == 2);

  fleet.ingest.on_actor_gone("a", "test");
  status = fleet.ingest.status();
  CHECK_FALSE(status.actors[0].connected);
  CHECK(status.tickets[0].holders.empty());
  CHECK(status.tickets[0].failures == 1);
  CHECK(status.failed_attempts == 1);
}
