#include "common/failpoint.h"
#include "common/json_file.h"
#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

using namespace nabla;

namespace {

namespace fs = std::filesystem;

// All that stands there, whole or not.
std::vector<std::string> checkpoints_in(const std::string& run) {
  std::vector<std::string> names;
  if (!exists(run + "/checkpoints")) return names;
  for (const auto& entry : fs::directory_iterator(run + "/checkpoints")) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

std::vector<std::string> whole_checkpoints_in(const std::string& run) {
  std::vector<std::string> names = checkpoints_in(run);
  std::erase_if(
      names, [&](const auto& name) { return name.find('.') != std::string::npos || !exists(run + "/checkpoints/" + name + "/COMPLETE"); });
  return names;
}

// Kills the supervisor once so many updates are trained and so many checkpoints are whole; the kernel takes its children along. Begins anew where the run is
// over before that, as it may be for a test that a busy machine held up.
void kill_fleet_after(std::int64_t updates, const std::string& run, const std::vector<std::string>& command, std::size_t checkpoints = 0) {
  for (int attempt = 0; attempt < 5; ++attempt) {
    fs::remove_all(run);
    Process train(command);
    const auto is_time = [&] { return updates_done(run) >= updates && whole_checkpoints_in(run).size() >= checkpoints; };
    REQUIRE(wait_until([&] { return train.ended() || is_time(); }, kRunDeadline));
    const auto children = children_of(train.pid());
    train.signal(SIGKILL);
    const Outcome outcome = train.wait();
    INFO(outcome.output);
    REQUIRE(
        wait_until([&] { return std::ranges::none_of(children, [](const auto& child) { return is_alive(child.pid); }); }, kRunDeadline));
    if (outcome.exit == 128 + SIGKILL) return;
    REQUIRE(outcome.exit == 0);
  }
  FAIL("the run was over before it could be killed, five times");
}

Outcome go_on(const Runs& runs, const std::string& name, std::vector<std::string> settings) {
  settings.emplace_back("resume=auto");
  return Process(runs.command("train", name, settings)).wait();
}

std::vector<std::int64_t> updates_in(const std::string& run) {
  std::vector<std::int64_t> updates;
  for (const auto& line : metrics_of(run)) updates.push_back(line.at("update").get<std::int64_t>());
  return updates;
}

// A run that went on and finished is whole: every update told once, the summary that of all of it, and its log gives the same weights.
void check_whole(const Runs& runs, const std::string& run, const std::string& replayed) {
  std::vector<std::int64_t> all(kUpdates);
  for (std::int64_t i = 0; i < kUpdates; ++i) all[static_cast<std::size_t>(i)] = i + 1;
  CHECK(updates_in(run) == all);
  const auto summary = summary_of(run);
  CHECK(summary.at("exit_reason") == "finished");
  CHECK(summary.at("updates") == kUpdates);
  CHECK(summary.at("trajectories") == kUpdates * kSlots);
  CHECK(summary.at("ledger").at("issued") == kUpdates * kSlots);
  CHECK(summary.at("ledger").at("residual") == 0);
  CHECK(summary.at("evaluation").size() == 2);
  const Outcome outcome = run_nabla({"replay", run, "run.dir=" + runs.folder(replayed)});
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(weights_of(runs.folder(replayed)) == weights_of(run));
}

// Updates after which fleets are killed: two, or as many as NABLA_RESUME_KILLS asks for.
std::vector<std::int64_t> kill_points() {
  const char* asked = std::getenv("NABLA_RESUME_KILLS");
  std::mt19937 random(20260131);
  std::vector<std::int64_t> points;
  for (int i = 0; i < (asked == nullptr ? 2 : std::atoi(asked)); ++i)
    points.push_back(1 + static_cast<std::int64_t>(random() % (kUpdates - 1)));
  return points;
}

void flip_last_byte(const std::string& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-1, std::ios::end);
  const char byte = static_cast<char>(file.get() ^ 0x10);
  file.seekp(-1, std::ios::end);
  file.put(byte);
}

}  // namespace

TEST_CASE("a fleet that is killed and goes on has the weights of one that was left alone") {
  for (const std::int64_t kill_point : kill_points()) {
    INFO("killed after update ", kill_point);
    const Runs runs;
    const std::string run = runs.folder("killed");
    const std::vector<std::string> settings{"checkpoint.every=2"};
    kill_fleet_after(kill_point, run, runs.command("train", "killed", settings));
    const Outcome outcome = go_on(runs, "killed", settings);
    INFO(outcome.output);
    CHECK(outcome.exit == 0);
    CHECK(weights_of(run) == weights_of(reference_run().folder));
    check_whole(runs, run, "replayed");
  }
}

TEST_CASE("a run without a checkpoint goes on from its log alone") {
  const Runs runs;
  const std::string run = runs.folder("killed");
  kill_fleet_after(4, run, runs.command("train", "killed", {"checkpoint.every=0"}));
  CHECK(checkpoints_in(run).empty());
  const Outcome outcome = go_on(runs, "killed", {"checkpoint.every=0"});
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(weights_of(run) == weights_of(reference_run().folder));
  check_whole(runs, run, "replayed");
}

TEST_CASE("a run without lockstep that was killed and went on is reproduced from its log, and from its last checkpoint") {
  const Runs runs;
  const std::string run = runs.folder("free");
  const std::vector<std::string> settings{"fleet.lockstep=false", "checkpoint.every=3"};
  kill_fleet_after(5, run, runs.command("train", "free", settings));
  const Outcome outcome = go_on(runs, "free", settings);
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  check_whole(runs, run, "replayed");
  CHECK(checkpoints_in(run) == std::vector<std::string>{"update-000009", "update-000010"});
  const Outcome replayed = run_nabla({"replay", run, "--from", run + "/checkpoints/update-000009", "run.dir=" + runs.folder("from")});
  INFO(replayed.output);
  CHECK(replayed.exit == 0);
  CHECK(weights_of(runs.folder("from")) == weights_of(run));
  CHECK(updates_in(runs.folder("from")) == std::vector<std::int64_t>{10});
}

TEST_CASE("a learner that is killed anywhere in the writing of a checkpoint goes on to the same weights") {
  if (!kHasFailpoints) {
    MESSAGE("skipped: this build has no failpoints");
    return;
  }
  for (const std::string place : {"checkpoint.mid_write:8", "checkpoint.before_commit:2", "checkpoint.after_commit:2"}) {
    INFO(place);
    const Runs runs;
    const std::string run = runs.folder("run");
    std::vector<std::string> command{"/usr/bin/env", fmt::format("NABLA_FAILPOINT={}", place)};
    const auto train = runs.command("train", "run", {"checkpoint.every=2", "learner.max_restarts=0"});
    command.insert(command.end(), train.begin(), train.end());
    CHECK(Process(command).wait().exit == 128 + SIGKILL);
    const Outcome outcome = go_on(runs, "run", {"checkpoint.every=2"});
    INFO(outcome.output);
    CHECK(outcome.exit == 0);
    CHECK(weights_of(run) == weights_of(reference_run().folder));
    check_whole(runs, run, "replayed");
  }
}

TEST_CASE("a learner that is killed alone starts again from its checkpoint, and its actors work on") {
  const Runs runs;
  const std::string run = runs.folder("run");
  Process train(runs.command("train", "run", {"checkpoint.every=2"}));
  REQUIRE(wait_until([&] { return updates_done(run) >= 2 && !whole_checkpoints_in(run).empty(); }, kRunDeadline));
  const auto children = children_of(train.pid());
  const auto is_learner = [](const auto& child) { return child.command_line.find(" learner ") != std::string::npos; };
  const auto learner = std::ranges::find_if(children, is_learner);
  REQUIRE(learner != children.end());
  REQUIRE(::kill(learner->pid, SIGKILL) == 0);
  const Outcome outcome = train.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(outcome.says("the learner ended (signal 9); starting it again from its checkpoint"));
  CHECK_FALSE(outcome.says("actor 0 ended"));
  CHECK_FALSE(outcome.says("actor 1 ended"));
  CHECK(weights_of(run) == weights_of(reference_run().folder));
  CHECK(summary_of(run).at("actors_seen") == 2);
  check_whole(runs, run, "replayed");
}

TEST_CASE("SIGUSR1, and with --requeue SIGTERM, end a run with a checkpoint and exit code 75; without it SIGTERM ends it with 0") {
  const Runs runs;
  const std::string run = runs.folder("run");
  struct Stop {
    int signal;
    std::vector<std::string> options;
    int exit;
  };
  std::int64_t done = 2;
  for (const Stop& stop : {Stop{SIGUSR1, {}, 75}, Stop{SIGTERM, {"--requeue"}, 75}, Stop{SIGTERM, {}, 0}}) {
    auto command = runs.command("train", "run", {"resume=auto", "checkpoint.every=0", kEndless});
    command.insert(command.end(), stop.options.begin(), stop.options.end());
    Process train(command);
    REQUIRE(wait_until([&] { return updates_done(run) >= done; }, kRunDeadline));
    train.signal(stop.signal);
    const Outcome outcome = train.wait();
    INFO(outcome.output);
    CHECK(outcome.exit == stop.exit);
    CHECK(summary_of(run).at("exit_reason") == "stopped");
    const std::int64_t updates = updates_done(run);
    CHECK(summary_of(run).at("updates") == updates);
    CHECK(checkpoints_in(run).back() == fmt::format("update-{:06}", updates));
    done = updates + 1;
  }
  const Outcome outcome = go_on(runs, "run", {fmt::format("training.updates={}", done + 1)});
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(summary_of(run).at("updates") == done + 1);
  CHECK(summary_of(run).at("ledger").at("residual") == 0);
  const Outcome replayed = run_nabla({"replay", run, "run.dir=" + runs.folder("replayed")});
  INFO(replayed.output);
  CHECK(replayed.exit == 0);
  CHECK(weights_of(runs.folder("replayed")) == weights_of(run));
}

TEST_CASE("a damaged checkpoint is passed over with a warning, and refused where it was named") {
  const Runs runs;
  const std::string run = runs.folder("run");
  kill_fleet_after(6, run, runs.command("train", "run", {"checkpoint.every=3"}), 2);
  const auto checkpoints = whole_checkpoints_in(run);
  REQUIRE(checkpoints.size() >= 2);
  const std::string newest = run + "/checkpoints/" + checkpoints.back(), before = checkpoints[checkpoints.size() - 2];
  flip_last_byte(newest + "/training.safetensors");
  const Outcome refused = run_nabla({"train", "--resume", newest});
  INFO(refused.output);
  CHECK(refused.exit == 3);
  CHECK(refused.says(newest + "/training.safetensors' is damaged"));
  const Outcome outcome = run_nabla({"train", "--resume", run});
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(outcome.says("it is set aside"));
  CHECK(outcome.says(fmt::format("goes on with update {}", std::stoi(before.substr(before.find('-') + 1)))));
  CHECK(weights_of(run) == weights_of(reference_run().folder));
  check_whole(runs, run, "replayed");
}

TEST_CASE("a finished run goes on with more updates as if it had been asked for them at once") {
  const Runs runs;
  const std::string run = runs.folder("run");
  REQUIRE(Process(runs.command("train", "run", {"training.updates=4"})).wait().exit == 0);
  const Outcome outcome = run_nabla({"train", "--resume", run, fmt::format("training.updates={}", kUpdates)});
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(weights_of(run) == weights_of(reference_run().folder));
  CHECK(summary_of(run).at("evaluation").size() == 3);
}

TEST_CASE("what cannot go on is refused before anything is touched") {
  const Runs runs;
  const std::string run = runs.folder("run");
  REQUIRE(Process(runs.command("train", "run", {"training.updates=2"})).wait().exit == 0);
  const auto refuse = [&](const std::vector<std::string>& settings, const std::string& reason) {
    const Outcome outcome = Process(runs.command("train", "run", settings)).wait();
    INFO(outcome.output);
    CHECK(outcome.exit == 2);
    CHECK(outcome.says(reason));
  };
  refuse({"resume=auto", "training.lr=0.5"}, "training.lr was 0.001, is 0.5");
  refuse({"resume=never"}, "resume=auto");
  refuse({"resume=nowhere"}, "'nowhere' is no run that began");
  refuse({"resume=auto", "run.dir="}, "set run.dir");
  refuse({"resume=" + run, "run.dir=" + runs.folder("nothing")}, "leave out run.dir");
  refuse({"resume=latest", "run.dir=" + runs.folder("nothing")}, "holds no run that began");
  const Outcome outcome = run_nabla({"train", "--resume", run, "training.updates=1"});
  INFO(outcome.output);
  CHECK(outcome.exit == 2);
  CHECK(outcome.says("the run has trained 2 updates"));
  CHECK(summary_of(run).at("exit_reason") == "finished");
}
