// Whose fault nonsense is: the connection's, the actor's and, with a larger budget, the key's.
#include "tests/common/error_check.h"
#include "tests/protocol/keyed_learner.h"
#include "tests/protocol/raw_peer.h"

#include <algorithm>

namespace nabla {

namespace {

// More messages that are none than a peer has budget for, and the refusal that follows.
void talk_nonsense(RawPeer& peer) {
  for (int i = 0; i < 9; ++i) peer.send_raw({"x", "y"});
  CHECK(peer.receive().type == MessageType::kRefusal);
}

}  // namespace

TEST_CASE("a connection that was turned away is not heard under another id") {
  FakeLearner learner;
  FleetServer server({}, learner);
  server.start();
  RawPeer bad(server.control_endpoint());
  bad.send(MessageType::kHello, hello_from("bad"));
  CHECK(bad.receive().type == MessageType::kWelcome);
  talk_nonsense(bad);
  bad.send(MessageType::kHello, hello_from("innocent"));
  // Another one's answer comes after that hello was read.
  RawPeer good(server.control_endpoint());
  do {
    good.send(MessageType::kHello, hello_from("good"));
    CHECK(good.receive().type == MessageType::kWelcome);
  } while (!server.counters().contains("quarantined_messages"));
  for (const Hello& hello : learner.heard().hellos) CHECK(hello.actor_id != "innocent");
}

TEST_CASE("a connection that says hello under ever new ids is turned away") {
  FakeLearner learner;
  FleetServer server({}, learner);
  server.start();
  RawPeer many(server.control_endpoint());
  for (int i = 0; i < 9; ++i) {
    many.send(MessageType::kHello, hello_from(fmt::format("actor-{}", i)));
    CHECK(many.receive().type == MessageType::kWelcome);
  }
  many.send(MessageType::kHello, hello_from("actor-9"));
  CHECK(many.receive().type == MessageType::kRefusal);
  CHECK(learner.heard().hellos.size() == 9);
  CHECK(server.counters().at("quarantined") == 1);
}

TEST_CASE("nonsense before a hello, or on the weights socket, is its connection's and keeps nobody out who shares the key") {
  KeyedLearner learner;
  learner.handler.snapshots[1] = sample_snapshot(1);
  learner.start();
  RawPeer control(learner.endpoint(), learner.local()), weights(learner.server->weights_endpoint(), learner.local());
  talk_nonsense(control);
  for (int i = 0; i < 20; ++i) weights.send_raw({"x", "y"});
  FleetClient good(client_of(learner.endpoint(), learner.local(), "good"), {});
  good.connect(hello_from("good"));
  CHECK(good.get_snapshot(1).version == 1);
  CHECK(good.send_record(sample_record(7), 12, 7).reject == Reject::kNone);
  CHECK(learner.count("quarantined_keys") == 0);
}

TEST_CASE("a key under which ever new connections talk nonsense is turned away as a whole, and no other key is") {
  KeyedLearner learner;
  const ActorKeys bad = learner.actor("bad"), good = learner.actor("good");
  learner.start();
  FleetClient sharer(client_of(learner.endpoint(), bad, "sharer"), {}), other(client_of(learner.endpoint(), good, "other"), {});
  sharer.connect(hello_from("sharer"));
  other.connect(hello_from("other"));
  for (int i = 0; i < 8; ++i) {  // connections of 9 faults each, of which a key has 64
    CHECK(learner.count("quarantined_keys") == 0);
    RawPeer peer(learner.endpoint(), bad);
    talk_nonsense(peer);
  }
  CHECK(learner.handler.wait_for([](const auto& heard) { return !heard.gone.empty(); }));
  CHECK(learner.count("quarantined_keys") == 1);
  CHECK(learner.handler.heard().gone.at(0).starts_with("sharer: turned away: its key"));
  check_error(
      ExitCode::kNetwork, [&] { sharer.next_work(); }, "whoever of its holders", fingerprint_of(bad.pair.public_key));
  FleetClient late(client_of(learner.endpoint(), bad, "late"), {});
  check_error(
      ExitCode::kNetwork, [&] { late.connect(hello_from("late")); }, "turned away for another");
  CHECK(other.send_record(sample_record(7), 12, 7).reject == Reject::kNone);
}

}  // namespace nabla
