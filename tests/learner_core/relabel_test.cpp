#include "common/config/relabel_needs.h"
#include "common/error.h"
#include "learner/ingest.h"
#include "learner/relabelled_record.h"
#include "tests/common/error_check.h"
#include "tests/learner_core/fixture.h"
#include "tests/testing.h"

#include <algorithm>
#include <cstring>

using namespace nabla;
using namespace nabla::testing;

namespace {

RunConfig relabelling_config() {
  RunConfig config = small_config();
  config.fleet.lockstep = config.fleet.relabel_before_update = true;
  return config;
}

std::vector<std::int64_t> slots_of(const Ticket& ticket) {
  std::vector<std::int64_t> slots;
  for (const auto& order : ticket.slots) slots.push_back(order.slot);
  return slots;
}

SharedRecord decoded(const EncodedRecord& encoded) {
  DecodeResult result = decode_record(encoded, {});
  REQUIRE(result.reason == "");
  return std::make_shared<TrajectoryRecord>(std::move(result.record));
}

float first_value(const TrajectoryRecord& record, const std::string& name) {
  float value = 0;
  std::memcpy(&value, record.bytes(*record.find(name)).data(), sizeof value);
  return value;
}

// An ingest of a run that relabels, with a log in memory.
struct Fleet {
  Fleet()
      : plan(make_plan(config)),
        queue(plan.slots_per_update(), slot_content(config)),
        ingest(options(), plan, small_rules(), journal, queue) {
    publish(0);
  }

  IngestOptions options() {
    IngestOptions options;
    options.welcome.run_id = "run-1";
    options.lockstep = true;
    options.issuer = IssuerOptions::from(config.fleet);
    options.append = [this](const LogEntry& entry) { log.push_back(entry); };
    options.clock = [this] { return now; };
    return options;
  }
  void publish(std::int64_t version) { ingest.publish(empty_snapshot(version)); }
  Ticket take(const std::string& actor) {
    const Work work = ingest.on_ticket_request(actor);
    REQUIRE(work.ticket);
    return *work.ticket;
  }
  Ack relabel(const std::string& actor, std::int64_t slot, RecordChange change = {}) {
    change.actor = actor;
    return ingest.on_record(actor, make_relabel(plan, slot, change));
  }
  // Both tickets of the first update's samples.
  void sample_first_update() {
    for (int i = 0; i < 2; ++i) {
      for (const auto& order : take("a").slots) CHECK(ingest.on_record("a", make_record(plan, order.slot)).reject == Reject::kNone);
    }
  }
  std::int64_t records_logged() const {
    return std::count_if(log.begin(), log.end(), [](const LogEntry& entry) { return std::holds_alternative<EncodedRecord>(entry); });
  }

  const RunConfig config = relabelling_config();
  double now = 0;
  std::vector<LogEntry> log;
  VersionJournal journal;
  SlotPlan plan;
  TrajectoryQueue queue;
  Ingest ingest;
};

bool are_states_of(const std::optional<SlotStates>& states, const EncodedRecord& record) {
  const auto sample = decoded(record);
  return states && states->slot == sample->header.slot && states->table.size() == 2 &&
         std::ranges::all_of(states->table, [&](const TensorEntry& entry) {
           return std::ranges::equal(states->data.view.subspan(entry.offset, entry.size), sample->bytes(*sample->find(entry.name)));
         });
}

}  // namespace

TEST_CASE("what is relabelled is what the weights at work decide, and nothing else") {
  const auto stale = [](const std::vector<std::string>& assignments) {
    RunConfig config;
    const auto fields = fields_of(config);
    for (const auto& assignment : assignments) apply_assignment(fields, assignment);
    return policy_dependent_tensors(record_needs_of(config));
  };
  using Names = std::vector<std::string>;
  CHECK(stale({}) == Names{"reward_grad_y", "reward_grad_x", "reverse_score_policy"});
  CHECK(stale({"model.gradient=reference_fl"}) == Names{"reverse_score_policy"});
  CHECK(stale({"model.gradient=terminal", "model.reverse_target=rao_blackwell"}) == Names{"reverse_rao_blackwell"});
  CHECK(stale({"model.gradient=terminal", "model.reverse_target=true_gradient"}).empty());
  CHECK(stale({"model.no_flow=true", "model.reverse_loss_scale=0"}) == Names{"reward_grad_y"});
  CHECK(stale({"experiment.method=ReFL"}) == Names{"reward_grad_x0"});
  CHECK(stale({"experiment.method=DRaFT-1"}).empty());
  CHECK(stale({"experiment.method=DRaFT-LV"}) == Names{"renoised_reward_grad"});
  CHECK(stale({"experiment.method=DDPO"}).empty());
  CHECK(stale({"model.gradient=lean_adjoint", "model.reverse_target=true_gradient"}).empty());
}

TEST_CASE("relabelling is available, and refused where it would change nothing or mix two policies") {
  const auto check = [](const std::vector<std::string>& assignments) {
    RunConfig config;
    const auto fields = fields_of(config);
    apply_assignment(fields, "fleet.relabel_before_update=true");
    for (const auto& assignment : assignments) apply_assignment(fields, assignment);
    validate(config);
  };
  CHECK_NOTHROW(check({}));
  CHECK_NOTHROW(check({"model.reverse_target=rao_blackwell"}));
  check_error(
      ExitCode::kUsage,
      [&] {
        check({"model.gradient=terminal", "model.reverse_target=true_gradient"});
      },
      "nothing to recompute", "set it to false");
  check_error(
      ExitCode::kUsage,
      [&] {
        check({"model.reverse_target=rao_blackwell", "model.pretrained_strength=0.5"});
      },
      "belongs to the weights that sampled");
}

TEST_CASE("relabel tickets name exactly the update's version, once all its samples and that version are there, before other samples") {
  const SlotPlan plan = make_plan(relabelling_config());
  TicketIssuer issuer(plan, {});
  const auto accept_all = [&](const Ticket& ticket) {
    for (const auto& order : ticket.slots) issuer.accept(order.slot, 1, ticket.kind);
  };
  const Ticket first = *issuer.next("a", 0, 0).ticket, second = *issuer.next("b", 0, 0).ticket;
  accept_all(first);
  CHECK_FALSE(issuer.next("a", 0, 0).ticket);  // one of the update's samples is outstanding, the next update waits for its version
  accept_all(second);
  const Ticket relabel = *issuer.next("a", 0, 0).ticket;
  CHECK(relabel.kind == TicketKind::kRelabel);
  CHECK(relabel.id == kFirstRelabelTicket + first.id);
  CHECK(relabel.version == 0);
  CHECK(relabel.exact_version);
  CHECK(slots_of(relabel) == slots_of(first));
  accept_all(*issuer.next("b", 0, 0).ticket);
  accept_all(relabel);
  // The samples of update 1 come with version 1, and are relabelled with it too.
  const Ticket third = *issuer.next("a", 1, 0).ticket, fourth = *issuer.next("b", 1, 0).ticket;
  CHECK(third.kind == TicketKind::kSample);
  accept_all(third);
  accept_all(fourth);
  CHECK(issuer.next("a", 1, 0).ticket->version == 1);
  CHECK(issuer.issued_slots() == 16);
  CHECK(issuer.open_slots() == 0);
}

TEST_CASE("an update sampled ahead is relabelled only when the version before it was trained") {
  RunConfig config = relabelling_config();
  config.fleet.publish_every = 2;
  config.fleet.lockstep_delay = 1;
  config.fleet.max_policy_lag = 3;
  const SlotPlan plan = make_plan(config);
  TicketIssuer issuer(plan, {});
  std::vector<Ticket> tickets;
  for (int i = 0; i < 8; ++i) tickets.push_back(*issuer.next("actor-" + std::to_string(i), 0, 0).ticket);
  CHECK(tickets.back().update == 3);
  for (const auto& ticket : tickets) {
    CHECK(ticket.version == 0);
    for (const auto& order : ticket.slots) issuer.accept(order.slot, 1);
  }
  const auto relabel = issuer.next("a", 0, 0).ticket;
  CHECK(relabel->update == 0);
  CHECK(issuer.next("b", 0, 0).ticket->update == 0);
  CHECK_FALSE(issuer.next("c", 0, 0).ticket);
  CHECK(issuer.next("c", 1, 0).ticket->version == 1);
}

TEST_CASE("a run that relabels hands an update out when every slot was sampled and relabelled, with the recomputed tensors") {
  Fleet fleet;
  fleet.sample_first_update();
  CHECK_FALSE(fleet.queue.take_for(0, kAtOnce));
  for (int i = 0; i < 2; ++i) {
    const Ticket ticket = fleet.take("a");
    CHECK(ticket.kind == TicketKind::kRelabel);
    for (const auto& order : ticket.slots) {
      const Ack ack = fleet.relabel("a", order.slot, {.offset = 100});
      CHECK_MESSAGE(ack.reject == Reject::kNone, ack.reason);
    }
  }
  CHECK(fleet.records_logged() == 16);
  const auto batch = fleet.queue.take_for(0, kAtOnce);
  REQUIRE(batch);
  REQUIRE(batch->records.size() == 8);
  for (const auto& record : batch->records) {
    const auto slot = static_cast<float>(record->header.slot);
    CHECK(record->header.kind == TicketKind::kSample);
    CHECK(record->header.reward == 1.5);
    for (const auto* name : {"x", "y", "eps_behaviour", "eps_reference", "reverse_score_reference"})
      CHECK(first_value(*record, name) == slot);
    for (const auto* name : {"reward_grad_x", "reward_grad_y", "reverse_score_policy"}) CHECK(first_value(*record, name) == slot + 100);
  }
  CHECK(fleet.ingest.ledger(0).residual() == 0);
  CHECK(fleet.ingest.ledger(0).outstanding == 8);
}

TEST_CASE("states are given away from their relabel ticket on until their update is trained, and are those of the sample") {
  Fleet fleet;
  CHECK_FALSE(fleet.ingest.on_get_states(0));
  fleet.sample_first_update();
  CHECK_FALSE(fleet.ingest.on_get_states(0));  // its ticket was not issued
  fleet.take("a");
  CHECK(are_states_of(fleet.ingest.on_get_states(0), make_record(fleet.plan, 0)));
  CHECK_FALSE(are_states_of(fleet.ingest.on_get_states(0), make_record(fleet.plan, 0, {.offset = 1})));
  CHECK(fleet.relabel("a", 0).reject == Reject::kNone);
  CHECK(are_states_of(fleet.ingest.on_get_states(0), make_record(fleet.plan, 0)));
  CHECK(fleet.ingest.on_get_states(1));
  CHECK_FALSE(fleet.ingest.on_get_states(8));  // nobody sampled it
  CHECK_FALSE(fleet.ingest.on_get_states(-1));
  fleet.ingest.trained(0, {0});
  CHECK_FALSE(fleet.ingest.on_get_states(0));
}

TEST_CASE("whoever gets a failed relabel ticket finds the states of all its slots, accepted and discarded ones too") {
  Fleet fleet;
  fleet.sample_first_update();
  const Ticket lost = fleet.take("a");
  CHECK(fleet.relabel("a", 0).reject == Reject::kNone);
  CHECK(fleet.relabel("a", 1, {.offset = std::numeric_limits<float>::infinity()}).reject == Reject::kNonFinite);
  fleet.ingest.on_ticket_failed("a", lost.id, "the reward failed");
  const Ticket again = fleet.take("b");
  CHECK(again.id == lost.id);
  REQUIRE(slots_of(again) == std::vector<std::int64_t>{0, 1, 2, 3});
  for (const auto slot : slots_of(again)) CHECK(are_states_of(fleet.ingest.on_get_states(slot), make_record(fleet.plan, slot)));
  CHECK(fleet.relabel("b", 0).reject == Reject::kDuplicate);
  CHECK(fleet.relabel("b", 1).reject == Reject::kUnknownSlot);
  for (const std::int64_t slot : {2, 3}) CHECK(fleet.relabel("b", slot).reject == Reject::kNone);
  CHECK(fleet.ingest.ledger(0).outstanding == 7);
  CHECK(fleet.ingest.ledger(0).residual() == 0);
  for (const auto& order : fleet.take("b").slots) CHECK(fleet.relabel("b", order.slot).reject == Reject::kNone);
  CHECK(fleet.queue.take_for(0, kAtOnce)->records.size() == 7);
  fleet.ingest.trained(0, {0, 2, 3, 4, 5, 6, 7});
  CHECK(fleet.ingest.ledger(7).residual() == 0);
  for (const auto slot : slots_of(again)) CHECK_FALSE(fleet.ingest.on_get_states(slot));
}

TEST_CASE("a second relabel record is a duplicate, with other bytes in lockstep a nondeterministic actor") {
  Fleet fleet;
  fleet.sample_first_update();
  CHECK(fleet.relabel("a", 0).reject == Reject::kUnknownTicket);
  fleet.take("a");
  CHECK(fleet.relabel("a", 0).reject == Reject::kNone);
  CHECK(fleet.relabel("b", 0).reject == Reject::kDuplicate);
  CHECK(fleet.ingest.on_record("b", make_record(fleet.plan, 0)).reject == Reject::kDuplicate);  // the sample is another record
  CHECK(fleet.records_logged() == 9);
  CHECK(fleet.relabel("b", 0, {.offset = 1}).reject == Reject::kNondeterministicActor);
  CHECK(fleet.ingest.failure());
}

TEST_CASE("a relabel record with another version, other tensors or another ticket is refused") {
  Fleet fleet;
  fleet.sample_first_update();
  fleet.publish(1);
  const Ticket ticket = fleet.take("a");
  CHECK(fleet.relabel("a", 0, {.version = 1}).reject == Reject::kUnknownVersion);
  RecordHeader header = header_of(fleet.plan, 0, {});
  header.kind = TicketKind::kRelabel;
  CHECK(fleet.ingest.on_record("a", encode_with(header, {})).reject == Reject::kUnknownTicket);
  header.ticket_id = ticket.id;
  CHECK(fleet.ingest.on_record("b", encode_with(header, {})).reject == Reject::kBadTensor);  // all tensors of a sample
  CHECK(fleet.relabel("b", 0, {.without = "reward_grad_x"}).reject == Reject::kBadTensor);
  CHECK(fleet.relabel("a", 0).reject == Reject::kNone);
}

TEST_CASE("a run that does not relabel takes no relabel record") {
  const SlotPlan plan = make_plan(small_config());
  VersionJournal journal;
  journal.publish(0, "digest-0");
  const RecordValidator validator(small_rules(), plan, journal);
  CHECK(validator.validate(make_relabel(plan, 0)).reject == Reject::kBadHeader);
}

TEST_CASE("a slot that cannot be relabelled is discarded once, and its update goes on without it") {
  Fleet fleet;
  fleet.sample_first_update();
  const Ticket first = fleet.take("a");
  CHECK(fleet.relabel("a", 0, {.offset = std::numeric_limits<float>::infinity()}).reject == Reject::kNonFinite);
  CHECK(fleet.ingest.ledger(0).residual() == 0);
  CHECK(fleet.ingest.ledger(0).outstanding == 7);
  CHECK(fleet.relabel("a", 0).reject == Reject::kUnknownSlot);
  for (const std::int64_t slot : {1, 2, 3}) CHECK(fleet.relabel("a", slot).reject == Reject::kNone);
  for (const auto& order : fleet.take("a").slots) CHECK(fleet.relabel("a", order.slot).reject == Reject::kNone);
  const auto batch = fleet.queue.take_for(0, kAtOnce);
  REQUIRE(batch);
  REQUIRE(batch->records.size() == 7);
  CHECK(batch->records.front()->header.slot == 1);
  fleet.ingest.trained(0, {1, 2, 3, 4, 5, 6, 7});
  const LedgerSummary ledger = fleet.ingest.ledger(7);
  CHECK(ledger.issued == 8);
  CHECK(ledger.outstanding == 0);
  CHECK(ledger.discarded == std::map<std::string, std::int64_t>{{"non_finite", 1}});
  CHECK(ledger.residual() == 0);
}

TEST_CASE("discarded slots are not in relabel tickets, and a failed relabel ticket is issued again whole") {
  Fleet fleet;
  const Ticket first = fleet.take("a");
  CHECK(fleet.ingest.on_record("a", make_record(fleet.plan, 0, {.actor = "a", .poison = std::numeric_limits<float>::infinity()})).reject ==
        Reject::kNonFinite);
  for (const std::int64_t slot : {1, 2, 3}) fleet.ingest.on_record("a", make_record(fleet.plan, slot));
  for (const auto& order : fleet.take("a").slots) fleet.ingest.on_record("a", make_record(fleet.plan, order.slot));
  const Ticket relabel = fleet.take("a");
  CHECK(slots_of(relabel) == std::vector<std::int64_t>{1, 2, 3});
  CHECK(fleet.relabel("a", 1).reject == Reject::kNone);
  fleet.ingest.on_actor_gone("a", "killed");
  const Ticket again = fleet.take("b");
  CHECK(again.id == relabel.id);
  CHECK(slots_of(again) == slots_of(relabel));
  CHECK_FALSE(fleet.ingest.on_get_states(0));  // its sample never came
  for (const std::int64_t slot : {1, 2, 3}) CHECK(fleet.ingest.on_get_states(slot));
}
