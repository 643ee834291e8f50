#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <csignal>

using namespace nabla;

namespace {

Outcome replay(const Runs& runs, const std::string& run, const std::string& name, const std::vector<std::string>& words) {
  std::vector<std::string> arguments{"replay", run, "run.dir=" + runs.folder(name)};
  arguments.insert(arguments.end(), words.begin(), words.end());
  return run_nabla(arguments);
}

}  // namespace

TEST_CASE("a run is replayed beside its learner while it goes on") {
  const Runs runs;
  const std::string run = runs.folder("run");
  Process train(runs.command("train", "run"));
  REQUIRE(wait_until([&] { return updates_done(run) >= 1 || train.ended(); }, kRunDeadline));
  const Outcome outcome = replay(runs, run, "beside", {"--follow"});
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(train.wait().exit == 0);
  CHECK(weights_of(runs.folder("beside")) == weights_of(run));
}

TEST_CASE("the log of a run passes every check and can be merged into one that replays as the run") {
  const Runs runs;
  const std::string run = reference_run().folder, merged = runs.folder("merged");
  const Outcome verified = run_nabla({"log", "verify", run});
  INFO(verified.output);
  CHECK(verified.exit == 0);
  REQUIRE(run_nabla({"log", "merge", run, "--out", merged}).exit == 0);
  const Outcome outcome = replay(runs, merged, "replayed", {"--config", run + "/config.yaml"});
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(weights_of(runs.folder("replayed")) == weights_of(run));
}

TEST_CASE("the log of a learner that was killed is found whole but for a torn tail, and cannot be lost by looking at it") {
  const Runs runs;
  const std::string run = runs.folder("run");
  Process train(runs.command("train", "run", {kEndless}));
  REQUIRE(wait_until([&] { return updates_done(run) >= 2; }, kRunDeadline));
  train.signal_group(SIGKILL);
  train.wait();
  for (const std::string verb : {"ls", "stat", "verify"}) {
    const Outcome outcome = run_nabla({"log", verb, run});
    INFO(outcome.output);
    CHECK(outcome.exit == 0);
  }
  CHECK(run_nabla({"log", "ls", run}).says("not sealed"));
}

TEST_CASE("following and a rate are for a run's own log") {
  const Runs runs;
  const Outcome outcome = replay(runs, reference_run().folder, "foreign", {"--rate", "100", "training.lr=0.5"});
  CHECK(outcome.exit == 2);
  CHECK(outcome.says("--rate"));
}
