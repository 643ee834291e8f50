#include "tests/protocol/keyed_learner.h"

#include "tests/common/error_check.h"
#include "tests/protocol/raw_peer.h"

#include <chrono>

namespace nabla {

namespace {

void check_refused(const std::string& endpoint, const std::optional<ActorKeys>& keys, const std::vector<std::string>& parts) {
  FleetClientOptions options = client_of(endpoint, keys);
  options.connect_deadline = std::chrono::milliseconds(1500);
  FleetClient client(options, {});
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& part : parts) {
    check_error(
        ExitCode::kNetwork, [&] { client.connect(hello_from("actor")); }, part, endpoint);
  }
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}

}  // namespace

TEST_CASE("an actor of the allow-list works through both sockets") {
  KeyedLearner learner;
  learner.handler.snapshots[1] = sample_snapshot(1);
  learner.start();
  FleetClient client(client_of(learner.server->control_endpoint(), learner.local()), {});
  CHECK(client.connect(hello_from("actor")).run_id == "run-1");
  CHECK(client.get_snapshot(1).version == 1);
  CHECK(client.send_record(sample_record(7), 12, 7).reject == Reject::kNone);
  CHECK(learner.count("keys_refused") == 0);
}

TEST_CASE("an actor without a key is not heard by a learner with keys, and is told both reasons") {
  KeyedLearner learner;
  learner.start();
  check_refused(learner.server->control_endpoint(), std::nullopt, {"learner with keys", "--key NAME.key", "no learner"});
  CHECK(learner.handler.heard().hellos.empty());
  CHECK(learner.server->counters().empty());
}

TEST_CASE("an actor with a key does not talk to a learner without, and is told both reasons") {
  KeyedLearner keyed;
  FakeLearner handler;
  FleetServer server({}, handler);
  server.start();
  check_refused(server.control_endpoint(), keyed.local(), {"learner without keys", "leave out --key", "security.keys"});
  CHECK(handler.heard().hellos.empty());
}

TEST_CASE("a key that is not in the allow-list is refused and counted") {
  KeyedLearner learner;
  ActorKeys stranger = learner.local();
  stranger.pair = make_key_pair();
  learner.start();
  check_refused(learner.server->control_endpoint(), stranger, {"allow-list", fingerprint_of(stranger.pair.public_key)});
  CHECK(learner.handler.heard().hellos.empty());
  CHECK(learner.count("keys_refused") > 0);
}

TEST_CASE("an actor that expects another server key does not talk to this one") {
  KeyedLearner learner;
  ActorKeys misled = learner.local();
  misled.server_public_key = make_key_pair().public_key;
  learner.start();
  check_refused(learner.server->control_endpoint(), misled, {"server key"});
  CHECK(learner.handler.heard().hellos.empty());
}

TEST_CASE("a secret key without its public half proves nothing") {
  KeyedLearner learner;
  ActorKeys forged = learner.local();
  forged.pair.secret_key = make_key_pair().secret_key;  // the public key is no secret: everybody may have it
  learner.start();
  check_refused(learner.server->control_endpoint(), forged, {"server key"});
  CHECK(learner.handler.heard().hellos.empty());
}

TEST_CASE("a key made while the learner runs is let in within a second") {
  KeyedLearner learner;
  learner.start();
  CHECK(learner.handler.wait_for([](const auto&) { return true; }));
  const ActorKeys late = learner.actor("late");
  const auto start = std::chrono::steady_clock::now();
  FleetClient client(client_of(learner.server->control_endpoint(), late), {});
  client.connect(hello_from("actor"));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(1));
}

TEST_CASE("a revoked actor is turned out within a second, and the others stay") {
  KeyedLearner learner;
  const ActorKeys good = learner.actor("good"), bad = learner.actor("bad");
  learner.start();
  FleetClient stays(client_of(learner.server->control_endpoint(), good, "stays"), {});
  FleetClient goes(client_of(learner.server->control_endpoint(), bad, "goes"), {});
  stays.connect(hello_from("stays"));
  goes.connect(hello_from("goes"));
  const auto start = std::chrono::steady_clock::now();
  revoke_actor(learner.folder.path(), "bad");
  CHECK(learner.handler.wait_for([](const auto& heard) { return !heard.gone.empty(); }));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(1));
  CHECK(learner.handler.heard().gone.at(0) == "goes: its key was revoked");
  check_error(
      ExitCode::kNetwork, [&] { goes.send_record(sample_record(8), 12, 8); }, "allow-list");
  CHECK(stays.send_record(sample_record(7), 12, 7).reject == Reject::kNone);
  CHECK(learner.handler.heard().records == std::vector<std::int64_t>{7});
  CHECK(learner.count("keys_revoked") == 1);
}

TEST_CASE("a peer whose key was revoked is not heard any more, though it keeps its connection and never said who it is") {
  KeyedLearner learner;
  learner.handler.snapshots[1] = sample_snapshot(1);
  const ActorKeys bad = learner.actor("bad");
  learner.start();
  RawPeer peer(learner.server->weights_endpoint(), bad);
  peer.send(MessageType::kSnapshotRequest, SnapshotRequest{1}, 1);
  CHECK(peer.receive().type == MessageType::kSnapshot);
  revoke_actor(learner.folder.path(), "bad");
  // Another key shows when the learner has looked.
  FleetClient other(client_of(learner.endpoint(), learner.actor("other"), "other"), {});
  other.connect(hello_from("other"));
  for (std::uint64_t request = 2; request < 10; ++request) peer.send(MessageType::kSnapshotRequest, SnapshotRequest{1}, request);
  CHECK(other.send_record(sample_record(7), 12, 7).reject == Reject::kNone);
  CHECK(learner.count("snapshots") == 1);
}

TEST_CASE("an id that is taken is not given to another key, and is to another process with the same key") {
  KeyedLearner learner;
  const ActorKeys first = learner.actor("first"), second = learner.actor("second");
  learner.start();
  FleetClient holder(client_of(learner.server->control_endpoint(), first, "twin"), {});
  holder.connect(hello_from("twin", 1));
  FleetClient thief(client_of(learner.server->control_endpoint(), second, "twin"), {});
  check_error(
      ExitCode::kNetwork, [&] { thief.connect(hello_from("twin", 2)); }, "another key", "twin");
  CHECK(holder.send_record(sample_record(7), 12, 7).reject == Reject::kNone);
  FleetClient heir(client_of(learner.server->control_endpoint(), first, "twin"), {});
  CHECK(heir.connect(hello_from("twin", 3)).run_id == "run-1");
}

TEST_CASE("an address that other machines can reach needs keys or the word insecure") {
  FakeLearner handler;
  FleetServerOptions open;
  open.control_address = open.weights_address = "tcp://0.0.0.0:*";
  check_error(
      ExitCode::kUsage, [&] { FleetServer(open, handler); }, "0.0.0.0", "nabla keys new", "--insecure");
  open.insecure = true;
  CHECK(FleetServer(open, handler).control_endpoint().starts_with("tcp://0.0.0.0:"));
  KeyedLearner keyed("tcp://0.0.0.0:*");
  keyed.start();
  const std::string endpoint = keyed.server->control_endpoint();
  FleetClient client(client_of("tcp://127.0.0.1:" + endpoint.substr(endpoint.rfind(':') + 1), keyed.local()), {});
  CHECK(client.connect(hello_from("actor")).run_id == "run-1");
}

}  // namespace nabla
