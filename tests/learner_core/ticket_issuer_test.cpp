#include "learner/ticket_issuer.h"

#include "tests/learner_core/fixture.h"
#include "tests/testing.h"

using namespace nabla;
using nabla::testing::make_plan;
using nabla::testing::small_config;

namespace {

std::vector<std::int64_t> slots_of(const Ticket& ticket) {
  std::vector<std::int64_t> slots;
  for (const auto& order : ticket.slots) slots.push_back(order.slot);
  return slots;
}

void accept_all(TicketIssuer& issuer, const Ticket& ticket, double now) {
  for (const auto& order : ticket.slots) issuer.accept(order.slot, now);
}

// Takes and finishes the tickets of a whole update for one actor.
void finish_update(TicketIssuer& issuer, const std::string& actor, std::int64_t published) {
  for (int i = 0; i < 2; ++i) {
    const auto answer = issuer.next(actor, published, 0);
    REQUIRE(answer.ticket);
    accept_all(issuer, *answer.ticket, 1);
  }
}

}  // namespace

TEST_CASE("tickets come in update and slot order, whoever asks") {
  const SlotPlan plan = make_plan(small_config());
  TicketIssuer issuer(plan, {});
  const auto first = issuer.next("a", 0, 0), second = issuer.next("b", 0, 0), third = issuer.next("c", 0, 0);
  CHECK(slots_of(*first.ticket) == std::vector<std::int64_t>{0, 1, 2, 3});
  CHECK(slots_of(*second.ticket) == std::vector<std::int64_t>{4, 5, 6, 7});
  CHECK(third.ticket->update == 1);
  CHECK(third.ticket->slots.front().slot == 8);
  CHECK(issuer.issued_slots() == 12);
  CHECK(issuer.open_slots() == 12);
}

TEST_CASE("a slot's prompt, seed and transitions do not depend on how many actors there are") {
  const SlotPlan plan = make_plan(small_config());
  TicketIssuer one(plan, {}), many(plan, {});
  many.next("x", 0, 0);
  const Ticket of_many = *many.next("y", 0, 0).ticket;
  accept_all(one, *one.next("a", 0, 0).ticket, 1);
  const Ticket of_one = *one.next("a", 0, 0).ticket;
  REQUIRE(of_one.slots.size() == of_many.slots.size());
  for (std::size_t i = 0; i < of_one.slots.size(); ++i) {
    CHECK(of_one.slots[i].prompt == of_many.slots[i].prompt);
    CHECK(of_one.slots[i].transitions == of_many.slots[i].transitions);
    CHECK(of_one.slots[i].seed == of_many.slots[i].seed);
  }
}

TEST_CASE("a ticket waits until the published version is within the policy lag") {
  const SlotPlan plan = make_plan(small_config());  // max_policy_lag 1
  TicketIssuer issuer(plan, {});
  finish_update(issuer, "a", 0);
  finish_update(issuer, "a", 0);
  const auto waiting = issuer.next("a", 0, 0);
  CHECK(!waiting.ticket);
  CHECK(waiting.wait_reason.find("version 1") != std::string::npos);
  const auto admitted = issuer.next("a", 1, 0);
  REQUIRE(admitted.ticket);
  CHECK(admitted.ticket->update == 2);
  CHECK(admitted.ticket->version == 1);
  CHECK(!admitted.ticket->exact_version);
}

TEST_CASE("lockstep names exactly one version") {
  RunConfig config = small_config();
  config.fleet.lockstep = true;
  SUBCASE("on policy: version u for update u") {
    const SlotPlan plan = make_plan(config);
    for (std::int64_t u = 0; u < 4; ++u) CHECK(plan.version_rule(u).version == u);
    TicketIssuer issuer(plan, {});
    finish_update(issuer, "a", 0);
    CHECK(!issuer.next("a", 0, 0).ticket);
    const auto next = issuer.next("a", 1, 0);
    CHECK(next.ticket->exact_version);
    CHECK(next.ticket->version == 1);
  }
  SUBCASE("the published algorithm: two updates an epoch, one epoch behind") {
    config.fleet.publish_every = 2;
    config.fleet.lockstep_delay = 1;
    config.fleet.max_policy_lag = 3;
    const SlotPlan plan = make_plan(config);
    const std::vector<std::int64_t> expected{0, 0, 0, 0, 2, 2, 4, 4};
    for (std::size_t u = 0; u < expected.size(); ++u) CHECK(plan.version_rule(static_cast<std::int64_t>(u)).version == expected[u]);
  }
}

TEST_CASE("a ticket whose holder is gone is issued again, whole and first") {
  const SlotPlan plan = make_plan(small_config());
  TicketIssuer issuer(plan, {});
  const Ticket lost = *issuer.next("a", 0, 0).ticket;
  issuer.accept(0, 1);
  CHECK(issuer.remove_actor("a", "not heard of").empty());
  const Ticket again = *issuer.next("b", 0, 2).ticket;
  CHECK(again.id == lost.id);
  CHECK(slots_of(again) == slots_of(lost));
  CHECK(again.attempt == 2);
  CHECK(issuer.issued_slots() == 4);
  CHECK(issuer.open_slots() == 3);
}

TEST_CASE("a ticket without progress runs out, one with progress does not") {
  const SlotPlan plan = make_plan(small_config());
  TicketIssuer issuer(plan, {.ticket_timeout_s = 60});
  const Ticket ticket = *issuer.next("a", 0, 0).ticket;
  issuer.heartbeat("a", ticket.id, 1, 50);
  issuer.heartbeat("a", ticket.id, 1, 100);  // the same step again is no progress
  issuer.expire(109);
  CHECK(issuer.holds("a", ticket.id));
  issuer.expire(111);
  CHECK(!issuer.holds("a", ticket.id));
  CHECK(issuer.next("b", 0, 111).ticket->id == ticket.id);
}

TEST_CASE("an actor that lost its answer gets the same ticket, one that failed silently gets the next attempt") {
  const SlotPlan plan = make_plan(small_config());
  TicketIssuer issuer(plan, {});
  const Ticket first = *issuer.next("a", 0, 0).ticket;
  const Ticket repeated = *issuer.next("a", 0, 1).ticket;
  CHECK(repeated.id == first.id);
  CHECK(repeated.attempt == 1);
  issuer.note_answer("a", "tensor 'x' holds a value that is not finite");
  const Ticket retried = *issuer.next("a", 0, 2).ticket;
  CHECK(retried.id == first.id);
  CHECK(retried.attempt == 2);
}

TEST_CASE("after the last attempt the missing slots are discarded with the reason") {
  const SlotPlan plan = make_plan(small_config());
  TicketIssuer issuer(plan, {.max_attempts = 3, .max_discard_share = 1.0});
  std::vector<DiscardEntry> discards;
  for (int attempt = 0; attempt < 3; ++attempt) {
    CHECK(discards.empty());
    const Ticket ticket = *issuer.next("a", 0, 0).ticket;
    CHECK(ticket.attempt == attempt + 1);
    if (attempt == 0) issuer.accept(1, 0);
    discards = issuer.fail("a", ticket.id, "the reward failed");
  }
  REQUIRE(discards.size() == 3);
  CHECK(discards[0].slot == 0);
  CHECK(discards[1].slot == 2);
  CHECK(discards[0].reason.starts_with("attempts:"));
  CHECK(discards[0].reason.find("the reward failed") != std::string::npos);
  CHECK(issuer.state_of(0) == SlotState::kDiscarded);
  CHECK(issuer.state_of(1) == SlotState::kAccepted);
  CHECK(issuer.open_slots() == 0);
  CHECK(issuer.next("a", 0, 0).ticket->slots.front().slot == 4);
}

TEST_CASE("the run stops when more than two slots and more than the share are discarded") {
  RunConfig config = small_config();
  config.training.updates = 20;
  config.fleet.max_policy_lag = 30;
  const SlotPlan plan = make_plan(config);
  TicketIssuer issuer(plan, {.max_discard_share = 0.05});
  for (int i = 0; i < 40; ++i) issuer.next("actor-" + std::to_string(i), 0, 0);
  for (std::int64_t slot = 0; slot < 100; ++slot) issuer.accept(slot, 1);
  for (std::int64_t slot = 100; slot < 105; ++slot) issuer.discard(slot);
  CHECK(!issuer.problem());
  issuer.discard(105);
  REQUIRE(issuer.problem());
  CHECK(issuer.problem()->find("6 of the last 106") != std::string::npos);
}

TEST_CASE("two early discards are allowed, a third stops the run") {
  const SlotPlan plan = make_plan(small_config());
  TicketIssuer issuer(plan, {});
  issuer.next("a", 0, 0);
  issuer.discard(0);
  issuer.discard(1);
  CHECK(!issuer.problem());
  issuer.discard(2);
  CHECK(issuer.problem());
}

TEST_CASE("only the last missing ticket of an update is doubled, and only when it takes long") {
  RunConfig config = small_config();
  config.fleet.max_policy_lag = 0;
  const SlotPlan plan = make_plan(config);
  TicketIssuer issuer(plan, {});
  const Ticket fast = *issuer.next("a", 0, 0).ticket;
  const Ticket slow = *issuer.next("b", 0, 0).ticket;
  CHECK(!issuer.next("c", 0, 100).ticket);  // two tickets are missing
  accept_all(issuer, fast, 10);
  CHECK(!issuer.next("a", 0, 15).ticket);  // not yet twice the usual ten seconds
  const auto doubled = issuer.next("a", 0, 21);
  REQUIRE(doubled.ticket);
  CHECK(doubled.ticket->id == slow.id);
  CHECK(!issuer.next("c", 0, 30).ticket);  // never a third time
  accept_all(issuer, slow, 31);
  CHECK(issuer.open_slots() == 0);
  CHECK(issuer.issued_slots() == 8);
}

TEST_CASE("a failed double leaves the ticket with its first holder") {
  RunConfig config = small_config();
  config.fleet.max_policy_lag = 0;
  const SlotPlan plan = make_plan(config);
  TicketIssuer issuer(plan, {.max_attempts = 1});
  accept_all(issuer, *issuer.next("a", 0, 0).ticket, 10);
  const Ticket slow = *issuer.next("b", 0, 0).ticket;
  REQUIRE(issuer.next("a", 0, 50).ticket);
  CHECK(issuer.fail("a", slow.id, "out of memory").empty());
  CHECK(issuer.holds("b", slow.id));
}

TEST_CASE("evaluations come before training and are cut into tickets") {
  const SlotPlan plan = make_plan(small_config());
  TicketIssuer issuer(plan, {});
  const auto ids = issuer.request_evaluation(0, plan.evaluation_pictures());  // 6 pictures, tickets of 4
  REQUIRE(ids.size() == 2);
  const auto answer = issuer.next("a", 0, 0);
  REQUIRE(answer.ticket);
  CHECK(answer.ticket->kind == TicketKind::kEvaluate);
  CHECK(answer.ticket->exact_version);
  CHECK(answer.ticket->slots.size() == 4);
  CHECK(answer.ticket->slots[2].prompt == "a white star");
  CHECK(answer.ticket->slots[3].prompt == "a gray ring");
  CHECK(issuer.next("b", 0, 0).ticket->slots.size() == 2);
  CHECK(issuer.next("c", 0, 0).ticket->kind == TicketKind::kSample);
  CHECK(issuer.open_slots() == 4);  // pictures are no slots
  issuer.finish_evaluation(ids[0], 1);
  CHECK(issuer.evaluation_ticket(ids[0]) == nullptr);
  CHECK(issuer.evaluation_ticket(ids[1]) != nullptr);
}

TEST_CASE("an evaluation that fails for good is a reason to stop, not a discard") {
  const SlotPlan plan = make_plan(small_config());
  TicketIssuer issuer(plan, {.max_attempts = 2});
  issuer.request_evaluation(0, plan.evaluation_pictures());
  for (int i = 0; i < 2; ++i) {
    CHECK(!issuer.problem());
    const Ticket ticket = *issuer.next("a", 0, 0).ticket;
    CHECK(issuer.fail("a", ticket.id, "no checker").empty());
  }
  REQUIRE(issuer.problem());
  CHECK(issuer.problem()->find("no checker") != std::string::npos);
}

TEST_CASE("versions stay available while tickets name them") {
  RunConfig config = small_config();
  config.fleet.lockstep = true;
  const SlotPlan plan = make_plan(config);
  TicketIssuer issuer(plan, {});
  issuer.request_evaluation(3, plan.evaluation_pictures());
  const Ticket first = *issuer.next("a", 0, 0).ticket;
  CHECK(issuer.versions_needed() == std::set<std::int64_t>{0, 3});
  accept_all(issuer, first, 1);
  accept_all(issuer, *issuer.next("a", 0, 0).ticket, 1);
  CHECK(issuer.versions_needed() == std::set<std::int64_t>{1, 3});  // the next ticket will name 1
}

TEST_CASE("the plan ends after the last update") {
  const SlotPlan plan = make_plan(small_config());
  TicketIssuer issuer(plan, {});
  for (std::int64_t u = 0; u < 4; ++u) finish_update(issuer, "a", u);
  const auto over = issuer.next("a", 4, 0);
  CHECK(!over.ticket);
  CHECK(issuer.issued_slots() == 32);
}

TEST_CASE("an issuer that goes on opens the tickets again that may have been out, for what is missing of them alone") {
  const SlotPlan plan = make_plan(small_config());  // max_policy_lag 1, two tickets an update
  TicketIssuer issuer(plan, {});
  // Update 0 is trained; of update 1 half a ticket came and a slot was discarded; version 1 admits update 2.
  issuer.restore({.trained_updates = 1,
                  .newest_version = 1,
                  .accepted = {{8, TicketKind::kSample}, {9, TicketKind::kSample}},
                  .discarded = {12}});
  CHECK(issuer.issued_slots() == 24);
  CHECK(issuer.open_slots() == 13);
  CHECK(issuer.state_of(3) == SlotState::kAccepted);
  CHECK(issuer.state_of(9) == SlotState::kAccepted);
  CHECK(issuer.state_of(10) == SlotState::kOpen);
  CHECK(issuer.state_of(12) == SlotState::kDiscarded);
  const auto first = issuer.next("a", 1, 0), second = issuer.next("b", 1, 0), third = issuer.next("c", 1, 0);
  CHECK(slots_of(*first.ticket) == std::vector<std::int64_t>{8, 9, 10, 11});  // whole: a smaller batch would change bits
  CHECK(slots_of(*second.ticket) == std::vector<std::int64_t>{12, 13, 14, 15});
  CHECK(third.ticket->update == 2);
  CHECK(issuer.issued_slots() == 24);
  issuer.accept(10, 1);
  issuer.accept(11, 1);
  CHECK(issuer.ticket_of(10) == nullptr);
}

TEST_CASE("an actor's work on a ticket from before a restart is accepted") {
  const SlotPlan plan = make_plan(small_config());
  TicketIssuer issuer(plan, {});
  issuer.restore({.trained_updates = 0, .newest_version = 0, .accepted = {}, .discarded = {}});
  issuer.accept(5, 1);  // nobody has asked since
  CHECK(issuer.state_of(5) == SlotState::kAccepted);
  CHECK(issuer.open_slots() == issuer.issued_slots() - 1);
}

TEST_CASE("a run that goes on relabels what is missing of its next update, and that alone") {
  RunConfig config = small_config();
  config.fleet.relabel_before_update = true;
  const SlotPlan plan = make_plan(config);
  TicketIssuer issuer(plan, {});
  IssuedBefore before{.trained_updates = 1, .newest_version = 1, .accepted = {}, .discarded = {}};
  for (std::int64_t slot = 8; slot < 16; ++slot) before.accepted.emplace_back(slot, TicketKind::kSample);
  for (std::int64_t slot = 8; slot < 13; ++slot) before.accepted.emplace_back(slot, TicketKind::kRelabel);
  issuer.restore(before);
  const auto answer = issuer.next("a", 1, 0);
  REQUIRE(answer.ticket);
  CHECK(answer.ticket->kind == TicketKind::kRelabel);
  CHECK(slots_of(*answer.ticket) == std::vector<std::int64_t>{12, 13, 14, 15});
  CHECK(issuer.state_of(12, TicketKind::kRelabel) == SlotState::kAccepted);
  for (std::int64_t slot = 13; slot < 16; ++slot) issuer.accept(slot, 1, TicketKind::kRelabel);
  CHECK(issuer.next("a", 1, 2).ticket->kind == TicketKind::kSample);
}
