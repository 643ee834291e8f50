#include "protocol/keys.h"
#include "common/files.h"
#include "common/json_file.h"
#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <sys/stat.h>

using namespace nabla;

namespace {

std::string control_of(const std::string& run) {
  REQUIRE(wait_until([&] { return exists(run + "/endpoints.json"); }, kRunDeadline));
  return read_json(run + "/endpoints.json").at("control").get<std::string>();
}

// An address that other machines can reach, as this one reaches it.
std::string here(std::string control) {
  const std::string any = "tcp://0.0.0.0:";
  REQUIRE(control.starts_with(any));
  return "tcp://127.0.0.1:" + control.substr(any.size());
}

std::vector<std::string> with_key(std::vector<std::string> command, const std::string& key_file) {
  command.insert(command.end(), {"--key", key_file});
  return command;
}

}  // namespace

TEST_CASE("a fleet with keys makes the run of a fleet without") {
  const Runs runs;
  make_server_keys(runs.folder("keys"));
  const std::string run = runs.folder("keyed");
  const Outcome outcome =
      Process(runs.command("train", "keyed", {"security.keys=" + runs.folder("keys"), "fleet.bind=tcp://0.0.0.0:0"})).wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(summary_of(run).at("weights_digest") == weights_of(reference_run().folder));
}

TEST_CASE("keys that cannot be read are refused before there is a run folder") {
  const Runs runs;
  const std::string keys = runs.folder("keys"), run = runs.folder("run");
  make_server_keys(keys);
  const auto check_refused = [&](const char* role, const std::string& file) {
    const Outcome outcome = Process(runs.command(role, "run", {"security.keys=" + keys})).wait();
    INFO(outcome.output);
    CHECK(outcome.exit == 3);
    CHECK(outcome.says(file));
    CHECK_FALSE(exists(run));
  };
  write_file(keys + "/actors/local.key", "nonsense\n");
  ::chmod((keys + "/actors/local.key").c_str(), 0600);
  check_refused("train", "actors/local.key");
  write_file(keys + "/server.key", "nonsense\n");
  ::chmod((keys + "/server.key").c_str(), 0600);
  for (const char* role : {"train", "learner"}) check_refused(role, "server.key");
}

TEST_CASE("actors with a key join a learner by its address, others are told what is missing") {
  const Runs runs;
  const std::string keys = runs.folder("keys"), run = runs.folder("open");
  make_server_keys(keys);
  make_actor_keys(keys, "gpu-1");
  make_actor_keys(keys, "old");
  revoke_actor(keys, "old");
  Process learner(runs.command("learner", "open", {"security.keys=" + keys, "fleet.bind=tcp://0.0.0.0:*"}));
  const std::string address = here(control_of(run));
  const Outcome stranger = Process(actor_command(address, "stranger")).wait();
  INFO(stranger.output);
  CHECK(stranger.exit == 4);
  CHECK(stranger.says("--key NAME.key"));
  CHECK(stranger.says("no learner"));
  Process actor(with_key(actor_command(address, "worker"), keys + "/actors/gpu-1.key"));
  const Outcome outcome = learner.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(summary_of(run).at("actors_seen") == 1);
}

TEST_CASE("an actor with a key at a learner without is told so") {
  const Runs runs;
  make_server_keys(runs.folder("keys"));
  Process learner(runs.command("learner", "plain", {"fleet.bind=tcp://127.0.0.1:*", kEndless}));
  const Outcome outcome =
      Process(with_key(actor_command(control_of(runs.folder("plain")), "actor"), runs.folder("keys/actors/local.key"))).wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 4);
  CHECK(outcome.says("without keys"));
}

TEST_CASE("an open address without keys is refused before anything starts, unless the word is said") {
  const Runs runs;
  for (const char* role : {"train", "learner"}) {
    const Outcome refused = Process(runs.command(role, "open", {"fleet.bind=tcp://0.0.0.0:0"})).wait();
    INFO(refused.output);
    CHECK(refused.exit == 2);
    CHECK(refused.says("nabla keys new"));
    CHECK(refused.says("--insecure"));
    CHECK_FALSE(exists(runs.folder("open")));
  }
  const Outcome outcome = Process(runs.command("train", "open", {"fleet.bind=tcp://0.0.0.0:0", "--insecure"})).wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(outcome.says("--insecure: everybody"));
}

TEST_CASE("a learner does not start with a secret that others can read") {
  const Runs runs;
  const std::string keys = runs.folder("keys");
  make_server_keys(keys);
  REQUIRE(::chmod((keys + "/server.key").c_str(), 0644) == 0);
  const Outcome outcome = Process(runs.command("learner", "run", {"security.keys=" + keys})).wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 3);
  CHECK(outcome.says("chmod 600"));
}
