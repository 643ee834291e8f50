#include "common/heap.h"
#include "learner/ingest.h"
#include "protocol/fleet_client.h"
#include "tests/common/sanitized.h"
#include "tests/learner_core/fixture.h"
#include "tests/learner_core/hostile_messages.h"
#include "tests/protocol/raw_peer.h"

#include <fmt/format.h>

#include <limits>

using namespace nabla;
using namespace nabla::testing;

namespace {

constexpr const char* kHostile = "hostile";

// A learner without its training, behind sockets, that forgives everything. Ticket 1 is an honest actor's: slot 0 is accepted, slot 3 discarded.
struct Learner {
  Learner()
      : plan(make_plan(small_config())),
        queue(plan.slots_per_update()),
        ingest(options(), plan, small_rules(), journal, queue),
        server(patient(), ingest) {
    ingest.publish(empty_snapshot(0));
    server.start();
    good = std::make_unique<FleetClient>(FleetClientOptions{.control_endpoint = server.control_endpoint(), .actor_id = "good"},
                                         std::stop_token());
    good->connect(hello_of("good"));
    REQUIRE(good->next_work().ticket.value().id == 1);
    CHECK(good->send_record(make_record(plan, 0), 1, 0).reject == Reject::kNone);
    CHECK(good->send_record(make_record(plan, 3, {.poison = std::numeric_limits<float>::infinity()}), 1, 3).reject == Reject::kNonFinite);
  }
  static IngestOptions options() {
    IngestOptions options;
    options.welcome.run_id = "run-1";
    options.welcome.base_digest = "base-1";
    options.append = [](const LogEntry&) {};
    options.clock = [] { return 0.0; };
    return options;
  }
  static FleetServerOptions patient() {
    FleetServerOptions options;
    options.quarantine.faults = options.quarantine.damaged = 1e9;
    return options;
  }
  static Hello hello_of(const std::string& id) { return {kProtocolVersion, id, "host", 1, "base-1"}; }
  std::int64_t count(const std::string& name) const {
    const auto counters = server.counters();
    const auto found = counters.find(name);
    return found == counters.end() ? 0 : found->second;
  }

  VersionJournal journal;
  SlotPlan plan;
  TrajectoryQueue queue;
  Ingest ingest;
  FleetServer server;
  std::unique_ptr<FleetClient> good;
};

std::string answer_name(const WireMessage& answer) {
  switch (answer.type) {
    case MessageType::kAck: {
      Ack ack;
      return decode(answer.body.view, ack).ok ? std::string(name_of(ack.reject)) : "an ack that cannot be read";
    }
    case MessageType::kBadMessage:
      return "bad_message";
    case MessageType::kRefusal:
      return "refusal";
    case MessageType::kNoted:
      return "noted";
    case MessageType::kNoStates:
      return "no_states";
    default:
      return fmt::format("type {}", static_cast<int>(answer.type));
  }
}

// What came of a message: the answer's name, or what was counted. A question whose answer is known goes behind it as a fence.
std::string outcome_of(Learner& learner, RawPeer& peer, const HostileMessage& message, std::uint64_t fence) {
  peer.send(MessageType::kHello, Learner::hello_of(kHostile), fence);
  while (peer.receive().type != MessageType::kWelcome) continue;
  const std::int64_t malformed = learner.count("malformed");
  peer.send_raw(message.frames);
  peer.send(MessageType::kStatesRequest, StatesRequest{1}, fence + 1);
  std::string outcome;
  while (true) {
    const WireMessage answer = peer.receive();
    if (answer.request == fence + 1) break;
    outcome += (outcome.empty() ? "" : ", ") + answer_name(answer);
  }
  if (outcome.empty() && learner.count("malformed") == malformed + 1) return "malformed";
  return outcome;
}

}  // namespace

TEST_CASE("every hostile message is rejected for the right reason, costs nothing and changes nothing") {
  Learner learner;
  const auto messages = hostile_messages(learner.plan, kHostile);
  CHECK(messages.size() >= 80);
  RawPeer peer(learner.server.control_endpoint());
  std::uint64_t fence = 1000;
  const auto send_all = [&] {
    for (const HostileMessage& message : messages) {
      INFO(message.name);
      CHECK(outcome_of(learner, peer, message, fence += 2) == message.expected);
    }
  };
  send_all();
  const std::int64_t before = resident_bytes();
  for (int round = 0; round < 5; ++round) send_all();
  if (!kSanitized) CHECK(resident_bytes() - before < 1 << 20);
  for (const std::int64_t slot : {1, 2}) CHECK(learner.good->send_record(make_record(learner.plan, slot), 1, slot).reject == Reject::kNone);
  CHECK_FALSE(learner.ingest.failure());
  CHECK_FALSE(learner.server.failure());
  CHECK(learner.queue.held_slots() == 3);
}

TEST_CASE("hostile messages on the weights socket are counted, and weights are still had") {
  Learner learner;
  RawPeer peer(learner.server.weights_endpoint());
  const std::string body(1, '\xC0');
  EnvelopeBytes envelope;
  envelope.type = static_cast<std::uint8_t>(MessageType::kSnapshotRequest);
  EnvelopeBytes damaged = envelope;
  envelope.body_crc32c = crc32c(std::as_bytes(std::span(body)));
  const std::vector<std::vector<std::string>> garbage{
      {""}, {"x", "y"}, {envelope.text(), body}, {damaged.text(), body}, std::vector<std::string>(65, "x")};
  for (const auto& frames : garbage) peer.send_raw(frames);
  peer.send(MessageType::kHello, Learner::hello_of(kHostile), 7);
  peer.send(MessageType::kSnapshotRequest, SnapshotRequest{-1}, 8);
  CHECK(peer.receive().type == MessageType::kNoSnapshot);
  peer.send(MessageType::kSnapshotRequest, SnapshotRequest{std::numeric_limits<std::int64_t>::max()}, 9);
  CHECK(peer.receive().type == MessageType::kNoSnapshot);
  CHECK(learner.count("malformed") == static_cast<std::int64_t>(garbage.size()) + 1);
  CHECK(learner.good->get_snapshot(0).version == 0);
}
