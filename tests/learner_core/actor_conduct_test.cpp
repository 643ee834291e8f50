#include "learner/actor_conduct.h"

#include "learner/ticket_issuer.h"
#include "tests/learner_core/fixture.h"
#include "tests/testing.h"

#include <fmt/format.h>

using namespace nabla;
using nabla::testing::make_plan;
using nabla::testing::small_config;

namespace {

// Two actors; the good one has delivered.
struct Fleet {
  Fleet() : plan(make_plan(many_slots())), issuer(plan, {}) {
    const Ticket ticket = *issuer.next("good", 0, 0).ticket;
    issuer.accept(ticket.slots.at(0).slot, 0);
    issuer.note_delivery("good");
  }
  static RunConfig many_slots() {
    RunConfig config = small_config();
    config.training.updates = 20;
    config.fleet.max_policy_lag = 30;
    return config;
  }
  // A ticket that is taken and given back; false: none was had.
  bool fail(const std::string& actor, double now) {
    const auto answer = issuer.next(actor, 0, now);
    if (!answer.ticket) return false;
    discards += issuer.fail(actor, answer.ticket->id, "it says so", now).size();
    return true;
  }
  SlotPlan plan;
  TicketIssuer issuer;
  std::size_t discards = 0;
};

}  // namespace

TEST_CASE("an actor that gives every ticket back discards nothing while another one delivers, and soon gets none") {
  Fleet fleet;
  for (int i = 0; i < 3; ++i) CHECK(fleet.fail("bad", 0));
  CHECK_FALSE(fleet.fail("bad", 9));
  CHECK(fleet.issuer.next("bad", 0, 9).wait_reason.find("this actor's last tickets failed") != std::string::npos);
  // It may try again, and rests longer each time.
  CHECK(fleet.fail("bad", 11));
  CHECK_FALSE(fleet.fail("bad", 30));
  CHECK(fleet.fail("bad", 32));
  CHECK(fleet.discards == 0);
  CHECK_FALSE(fleet.issuer.problem());
}

TEST_CASE("an actor cannot fail tickets under ever new ids, nor by going, until they are discarded") {
  Fleet fleet;
  for (int i = 0; i < 30; ++i) CHECK(fleet.fail(fmt::format("bad-{}", i), 0));
  for (int i = 0; i < 30; ++i) {
    REQUIRE(fleet.issuer.next(fmt::format("ghost-{}", i), 0, 0).ticket);
    fleet.discards += fleet.issuer.remove_actor(fmt::format("ghost-{}", i), "gone").size();
  }
  CHECK(fleet.discards == 0);
}

TEST_CASE("one actor has two slots discarded at most while another one delivers") {
  Fleet fleet;
  const Ticket ticket = *fleet.issuer.next("bad", 0, 0).ticket;
  CHECK_FALSE(fleet.issuer.may_discard("bad"));  // it has delivered nothing yet
  fleet.issuer.accept(ticket.slots.at(0).slot, 0);
  fleet.issuer.note_delivery("bad");
  for (const std::size_t i : {1U, 2U}) {
    CHECK(fleet.issuer.may_discard("bad"));
    fleet.issuer.discard(ticket.slots.at(i).slot, TicketKind::kSample, "bad");
  }
  CHECK_FALSE(fleet.issuer.may_discard("bad"));
  CHECK(fleet.issuer.may_discard("good"));
  CHECK_FALSE(fleet.issuer.problem());
}

TEST_CASE("where nobody else delivers, failures count, and the end of the run names whose they were") {
  Fleet fleet;
  CHECK_FALSE(fleet.issuer.may_discard("bad"));
  fleet.issuer.remove_actor("good", "gone");
  CHECK(fleet.issuer.may_discard("bad"));
  for (int i = 0; i < 3; ++i) CHECK(fleet.fail("bad", 0));
  CHECK(fleet.discards == 3);  // of the ticket that went back with its first slot accepted
  REQUIRE(fleet.issuer.problem());
  CHECK(fleet.issuer.problem()->find("through bad 3") != std::string::npos);
}

TEST_CASE("an actor that delivers again is forgiven") {
  Fleet fleet;
  const Ticket ticket = *fleet.issuer.next("b", 0, 0).ticket;
  fleet.issuer.fail("b", ticket.id, "once", 0);
  fleet.issuer.fail("b", fleet.issuer.next("b", 0, 0).ticket->id, "twice", 0);
  CHECK_FALSE(fleet.issuer.may_discard("b"));
  fleet.issuer.note_delivery("b");
  CHECK(fleet.issuer.may_discard("b"));
}
