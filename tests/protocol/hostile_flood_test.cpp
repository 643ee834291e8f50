#include "common/heap.h"
#include "tests/common/error_check.h"
#include "tests/common/sanitized.h"
#include "tests/protocol/keyed_learner.h"
#include "tests/protocol/raw_peer.h"
#include "tests/protocol/zmtp_attacker.h"

#include <sys/resource.h>

#include <deque>
#include <functional>
#include <limits>
#include <thread>

namespace nabla {

namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kMiB = 1 << 20;

// Tests of many connections hold both ends of each.
void allow_many_files() {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

// Frames that say "more follows", without end.
std::string endless_frames() {
  std::string bytes;
  while (bytes.size() < 4 * kMiB) bytes += ZmtpAttacker::frame('\1', 64 * 1024) + std::string(64 * 1024, 'x');
  return bytes;
}

// Looks until the condition holds; false after 10 s.
bool eventually(const std::function<bool()>& holds) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::yield();
  }
  return true;
}

// Sends frames until it is cut off; the bytes that the other side's machine took.
std::size_t flood(ZmtpAttacker& attacker) {
  static const std::string frames = endless_frames();
  std::size_t sent = 0, total = 0;
  do {
    sent = attacker.send(frames);
    total += sent;
  } while (sent == frames.size() && total < std::size_t{1} << 30);
  CHECK(sent < frames.size());
  return total;
}

void check_service(KeyedLearner& learner, std::int64_t slot) {
  FleetClient client(client_of(learner.endpoint(), learner.local(), "good"), {});
  client.connect(hello_from("good"));
  CHECK(client.send_record(sample_record(slot), 12, slot).reject == Reject::kNone);
}

}  // namespace

TEST_CASE("a peer without a key that sends frames without end costs a learner with keys less than 1 MiB") {
  KeyedLearner learner;
  learner.start();
  check_service(learner, 1);
  const auto attack = [&] {
    ZmtpAttacker attacker(learner.endpoint());
    attacker.send(ZmtpAttacker::greeting("NULL") + ZmtpAttacker::ready());
    flood(attacker);
  };
  for (int i = 0; i < 20; ++i) attack();
  const std::int64_t before = resident_bytes();
  for (int i = 0; i < 200; ++i) attack();
  if (!testing::kSanitized) CHECK(resident_bytes() - before < kMiB);
  check_service(learner, 2);
  CHECK(learner.handler.heard().hellos.size() == 2);
}

TEST_CASE("a peer that claims to have a key and sends a frame of megabytes instead of the handshake is cut off") {
  KeyedLearner learner;
  learner.start();
  ZmtpAttacker attacker(learner.endpoint());
  attacker.send(ZmtpAttacker::greeting("CURVE") + ZmtpAttacker::frame('\0', 60 * kMiB));
  const auto start = std::chrono::steady_clock::now();
  attacker.send(std::string(64 * 1024, 'x'));
  CHECK(attacker.is_ended(milliseconds(2000)));
  // Long before the time for a handshake is over.
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(2));
  CHECK(eventually([&] { return learner.count("flooding_connections") == 1; }));
  check_service(learner, 1);
}

TEST_CASE("a peer that never ends its message is cut off, without keys too") {
  FakeLearner handler;
  FleetServerOptions options;
  options.max_frame_bytes = kMiB;
  FleetServer server(options, handler);
  server.start();
  ZmtpAttacker attacker(server.control_endpoint());
  const std::string handshake = ZmtpAttacker::greeting("NULL") + ZmtpAttacker::ready();
  attacker.send(handshake);
  // The server's is as long; what comes before it is no message yet.
  REQUIRE(attacker.receive(handshake.size()));
  flood(attacker);
  CHECK(eventually([&] { return server.counters().contains("flooding_connections"); }));
  CHECK(handler.heard().hellos.empty());
}

TEST_CASE("a storm of connections from elsewhere is shut out, and actors go on and come anew") {
  KeyedLearner learner;
  learner.start();
  check_service(learner, 1);
  for (int i = 0; i < 6000 && learner.count("connection_storms") == 0; ++i) {
    ZmtpAttacker attacker(learner.endpoint(), "127.0.0.2", milliseconds(100));
    if (i % 64 == 63) attacker.receive(10);  // those that wait to be taken are few
  }
  CHECK(eventually([&] { return learner.count("connection_storms") == 1; }));
  ZmtpAttacker late(learner.endpoint(), "127.0.0.2", milliseconds(300));
  CHECK_FALSE(late.is_connected());
  check_service(learner, 2);
}

TEST_CASE("an actor that delivers large records one after the other is not cut off") {
  KeyedLearner learner;
  learner.options.max_frame_bytes = kMiB;
  learner.start();
  const std::vector<float> values(200'000, 0.5F);
  const PackedTensors packed = pack_tensors({{"x", {DType::kF32, {1, 1, 1, 100'000}, std::as_bytes(std::span(values).first(100'000))}},
                                             {"y", {DType::kF32, {1, 1, 1, 100'000}, std::as_bytes(std::span(values).first(100'000))}}});
  FleetClient client(client_of(learner.endpoint(), learner.local()), {});
  client.connect(hello_from("actor"));
  for (std::int64_t slot = 0; slot < 64; ++slot) {
    RecordHeader header = sample_header(slot);
    header.transitions.resize(1);
    const Reject reject = client.send_record(encode_record(header, packed), 12, slot).reject;
    CHECK((reject == Reject::kNone || reject == Reject::kDuplicate));  // sent again where the machine is slow for heartbeats of 50 ms
  }
  CHECK(learner.count("flooding_connections") == 0);
}

TEST_CASE("500 half handshakes and 100 idle peers with keys do not stop the service") {
  allow_many_files();
  KeyedLearner learner;
  learner.start();
  std::deque<ZmtpAttacker> half;
  for (int i = 0; i < 500; ++i) {
    half.emplace_back(learner.endpoint());
    // Some stop in the greeting, some behind it.
    half.back().send(ZmtpAttacker::greeting("CURVE").substr(0, i % 2 == 0 ? 10 : 64));
  }
  std::deque<RawPeer> idle;
  for (int i = 0; i < 100; ++i) idle.emplace_back(learner.endpoint(), learner.local());
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t slot = 0; slot < 4; ++slot) check_service(learner, slot);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
  // The idle ones can speak when they want to.
  idle.back().send(MessageType::kHello, hello_from("late"));
  CHECK(idle.back().receive().type == MessageType::kWelcome);
}

TEST_CASE("an actor that talks nonsense is turned away with the reason, its ticket goes back, and nobody else notices") {
  FakeLearner learner;
  FleetServer server({}, learner);
  server.start();
  FleetClient good(client_of(server.control_endpoint(), std::nullopt, "good"), {});
  good.connect(hello_from("good"));
  RawPeer bad(server.control_endpoint());
  bad.send(MessageType::kHello, hello_from("bad"));
  CHECK(bad.receive().type == MessageType::kWelcome);
  for (std::uint64_t request = 2; request < 11; ++request) {
    bad.send(MessageType::kEvaluation, Notice{"x"}, request);
    CHECK(bad.receive().type == MessageType::kBadMessage);
  }
  const WireMessage last = bad.receive();
  Refusal refusal;
  REQUIRE(last.type == MessageType::kRefusal);
  REQUIRE(decode(last.body.view, refusal).ok);
  CHECK(refusal.exit_code == 4);
  CHECK(refusal.reason.find("turned away") != std::string::npos);
  CHECK(learner.heard().gone.at(0).starts_with("bad: turned away"));
  // Its id is not let in by another connection either; others are.
  FleetClient again(client_of(server.control_endpoint(), std::nullopt, "bad"), {});
  check_error(
      ExitCode::kNetwork, [&] { again.connect(hello_from("bad")); }, "turned away for another");
  CHECK(good.send_record(sample_record(7), 12, 7).reject == Reject::kNone);
  CHECK(server.counters().at("quarantined") == 1);
  CHECK(server.counters().at("actor.bad.malformed") == 9);
}

TEST_CASE("records that are refused for their content count against their sender") {
  FakeLearner learner;
  FleetServer server({}, learner);
  server.start();
  FleetClient bad(client_of(server.control_endpoint(), std::nullopt, "bad"), {});
  bad.connect(hello_from("bad"));
  std::vector<float> values = sample_values();
  values[3] = std::numeric_limits<float>::infinity();
  const EncodedRecord poisoned = encode_record(sample_header(7), sample_tensors(values));
  for (int i = 0; i < 8; ++i) CHECK(bad.send_record(poisoned, 12, 7).reject == Reject::kNonFinite);
  CHECK(bad.send_record(poisoned, 12, 7).reject == Reject::kNonFinite);
  check_error(
      ExitCode::kNetwork, [&] { bad.next_work(); }, "turned away");
  CHECK(server.counters().at("quarantined") == 1);
}

TEST_CASE("records that were damaged on the way do not turn their sender away like its own faults") {
  FakeLearner learner;
  FleetServer server({}, learner);
  server.start();
  RawPeer far(server.control_endpoint());
  far.send(MessageType::kHello, hello_from("far"));
  CHECK(far.receive().type == MessageType::kWelcome);
  for (std::uint64_t request = 2; request < 100; ++request) {
    far.send(MessageType::kRecord, Notice{"x"}, request, 1);
    CHECK(far.receive().type == MessageType::kAck);
  }
  CHECK_FALSE(server.counters().contains("quarantined"));
  CHECK(server.counters().at("rejected_bad_checksum") == 98);
}

TEST_CASE("a peer that floods with malformed messages is no longer answered") {
  FakeLearner learner;
  FleetServer server({}, learner);
  server.start();
  RawPeer bad(server.control_endpoint());
  for (int i = 0; i < 60; ++i) bad.send_raw({"x", "y"});
  CHECK(bad.receive().type == MessageType::kRefusal);
  // Turned away, it is not heard; another connection is.
  bad.send(MessageType::kHello, hello_from("bad"));
  RawPeer other(server.control_endpoint());
  other.send(MessageType::kHello, hello_from("other"));
  CHECK(other.receive().type == MessageType::kWelcome);
  const auto counters = server.counters();
  CHECK(counters.at("quarantined") == 1);
  CHECK(counters.at("malformed") == 9);
}

TEST_CASE("one connection is one actor's") {
  FakeLearner learner;
  FleetServer server({}, learner);
  server.start();
  RawPeer many(server.control_endpoint());
  for (int i = 0; i < 5; ++i) {
    many.send(MessageType::kHello, hello_from(fmt::format("actor-{}", i)));
    CHECK(many.receive().type == MessageType::kWelcome);
  }
  CHECK(learner.heard().gone.size() == 4);
  CHECK(learner.heard().gone.at(0) == "actor-0: its connection says that it is actor-1 now");
}

TEST_CASE("a heartbeat with times that are no numbers is not taken") {
  FakeLearner learner;
  FleetServer server({}, learner);
  server.start();
  RawPeer peer(server.control_endpoint());
  peer.send(MessageType::kHello, hello_from("peer"));
  CHECK(peer.receive().type == MessageType::kWelcome);
  Heartbeat heartbeat;
  heartbeat.stage_seconds["sampling"] = std::numeric_limits<double>::quiet_NaN();
  peer.send(MessageType::kHeartbeat, heartbeat, 0);
  CHECK(peer.receive().type == MessageType::kBadMessage);
  CHECK(learner.heard().heartbeats.empty());
}

}  // namespace nabla
