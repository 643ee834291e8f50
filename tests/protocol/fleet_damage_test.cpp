#include "protocol/fleet_client.h"
#include "tests/common/error_check.h"
#include "tests/protocol/keyed_learner.h"
#include "tests/protocol/raw_peer.h"

namespace nabla {

namespace {

// What is not answered for ten heartbeats is asked for again; here nothing but damage is to do that, however busy the machine is.
FleetClientOptions patient_client_of(const FleetServer& server) {
  FleetClientOptions options = client_of(server.control_endpoint(), std::nullopt);
  options.heartbeat_interval = std::chrono::milliseconds(1000);
  return options;
}

// A learner that finds the next so many records and snapshots damaged, and an actor of it.
struct DamagedWay {
  explicit DamagedWay(int damage) : server({}, learner), client(patient_client_of(server), {}) {
    learner.damage = damage;
    learner.snapshots[2] = sample_snapshot(2);
    server.start();
    client.connect(hello_from("actor"));
  }
  FakeLearner learner;
  FleetServer server;
  FleetClient client;
};

}  // namespace

TEST_CASE("a record that arrives damaged is sent again, and only the whole one counts") {
  DamagedWay way(3);
  CHECK(way.client.send_record(sample_record(7), 12, 7).reject == Reject::kNone);
  CHECK(way.learner.heard().records == std::vector<std::int64_t>{7});
  CHECK(count_of(way.server, "rejected_bad_checksum") == 3);
  CHECK(count_of(way.server, "repeated_answers") == 0);
}

TEST_CASE("every record of a ticket arrives whole over a way that damages some") {
  DamagedWay way(5);
  const std::vector<std::int64_t> slots{4, 5, 6, 7};
  const auto acks = way.client.send_records(12, slots, [&](std::size_t i) { return sample_record(slots[i]); });
  REQUIRE(acks.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(acks[i].slot == slots[i]);
    CHECK(acks[i].reject == Reject::kNone);
  }
  CHECK(way.learner.heard().records.size() == 4);
}

TEST_CASE("a record that is damaged each time is sent eight times, and comes back as that") {
  DamagedWay way(100);
  CHECK(way.client.send_record(sample_record(7), 12, 7).reject == Reject::kBadChecksum);
  CHECK(count_of(way.server, "records") == 8);
  CHECK(way.learner.heard().records.empty());
}

TEST_CASE("weights that arrive damaged are asked for again") {
  DamagedWay way(3);
  const Snapshot snapshot = way.client.get_snapshot(2);
  CHECK(snapshot.version == 2);
  CHECK(copy_of(snapshot.data) == copy_of(sample_tensors().data));
  CHECK(count_of(way.server, "snapshots") == 4);
}

TEST_CASE("weights that are damaged each time are asked for eight times and not handed on") {
  DamagedWay way(8);
  check_error(
      ExitCode::kNetwork, [&] { way.client.get_snapshot(2); }, "version 2", "damaged 8 times");
  CHECK(count_of(way.server, "snapshots") == 8);
  CHECK(way.client.get_snapshot(2).version == 2);
}

TEST_CASE("a damaged record is not answered out of memory when it comes again under the same number") {
  FakeLearner learner;
  FleetServer server({}, learner);
  server.start();
  RawPeer peer(server.control_endpoint());
  peer.send(MessageType::kHello, hello_from("peer"));
  CHECK(peer.receive().type == MessageType::kWelcome);
  const auto deliver = [&](std::uint32_t flip) {
    peer.send(MessageType::kRecord, Notice{"x"}, 2, flip);
    Ack ack;
    CHECK(decode(peer.receive().body.view, ack).ok);
    return ack.reject;
  };
  CHECK(deliver(1) == Reject::kBadChecksum);  // whatever else is wrong with it
  CHECK(deliver(0) == Reject::kBadHeader);
  CHECK(deliver(1) == Reject::kBadHeader);  // known by its number
}

}  // namespace nabla
