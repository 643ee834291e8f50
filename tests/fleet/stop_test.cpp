#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <algorithm>
#include <csignal>

using namespace nabla;

namespace {

void check_stopped_run(const std::string& run) {
  const auto summary = summary_of(run);
  CHECK(summary.at("exit_reason") == "stopped");
  CHECK(summary.at("updates") >= 2);
  CHECK(summary.at("ledger").at("residual") == 0);
  CHECK(exists(run + "/export/pytorch_lora_weights.safetensors"));
  CHECK(exists(run + "/report.html"));
  CHECK(metrics_of(run).size() == summary.at("updates"));
}

// Starts a long run, lets it train two updates and stops it the given way.
template <class Stop>
void check_stop(Stop stop) {
  const Runs runs;
  const std::string run = runs.folder("stopped");
  Process train(runs.command("train", "stopped", {kEndless}));
  REQUIRE(wait_until([&] { return updates_done(run) >= 2; }, kRunDeadline));
  const auto children = children_of(train.pid());
  CHECK(children.size() == 3);
  train.mark();
  stop(train);
  const Outcome outcome = train.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(is_prompt(outcome.seconds));
  for (const auto& child : children) CHECK_FALSE(is_alive(child.pid));
  CHECK_FALSE(outcome.says("killing what is left"));
  check_stopped_run(run);

  const Outcome replayed = run_nabla({"replay", run, "run.dir=" + runs.folder("replayed")});
  INFO(replayed.output);
  CHECK(replayed.exit == 0);
  CHECK(weights_of(runs.folder("replayed")) == weights_of(run));
}

}  // namespace

TEST_CASE("Ctrl-C on a terminal stops the whole fleet and leaves a usable run") {
  check_stop([](Process& train) { train.signal_group(SIGINT); });
}

TEST_CASE("SIGTERM to the one process that was started stops the whole fleet") {
  check_stop([](Process& train) { train.signal(SIGTERM); });
}

TEST_CASE("SIGTERM to every process of the fleet, again and again, stops it as cleanly") {
  // As systemd and batch systems end a group: all get the signal, and the supervisor passes its own on.
  check_stop([](Process& train) {
    const auto children = children_of(train.pid());
    wait_until(
        [&] {
          train.signal(SIGTERM);
          for (const auto& child : children) ::kill(child.pid, SIGTERM);
          return train.ended();
        },
        kRunDeadline);
  });
}

TEST_CASE("a stop before the learner listens ends everything at once") {
  const Runs runs;
  Process train(runs.command("train", "early"));
  REQUIRE(wait_until([&] { return children_of(train.pid()).size() == 3; }, kRunDeadline));
  const auto children = children_of(train.pid());
  train.mark();
  train.signal_group(SIGINT);
  const Outcome outcome = train.wait();
  INFO(outcome.output);
  CHECK(is_prompt(outcome.seconds));
  for (const auto& child : children) CHECK_FALSE(is_alive(child.pid));
}
