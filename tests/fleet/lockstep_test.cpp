#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

using namespace nabla;

namespace {

// Runs until its end and returns the run folder.
std::string finish(const Runs& runs, const std::string& name, const std::vector<std::string>& settings) {
  const Outcome outcome = Process(runs.command("train", name, settings)).wait();
  INFO(outcome.output);
  REQUIRE(outcome.exit == 0);
  return runs.folder(name);
}

Outcome replay(const Runs& runs, const std::string& source, const std::string& name, const std::vector<std::string>& settings = {}) {
  std::vector<std::string> arguments{"replay", source, "run.dir=" + runs.folder(name)};
  arguments.insert(arguments.end(), settings.begin(), settings.end());
  return run_nabla(arguments);
}

void check_same_losses(const std::string& run, const std::string& replayed) {
  const auto first = metrics_of(run), second = metrics_of(replayed);
  REQUIRE(first.size() == second.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    for (const auto* name : {"loss", "grad_norm", "reward_mean"}) CHECK(first[i].at(name) == second[i].at(name));
  }
}

void flip_byte_in_the_middle(const std::string& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const auto middle = static_cast<std::streamoff>(std::filesystem::file_size(path) / 2);
  file.seekg(middle);
  const char byte = static_cast<char>(file.get() ^ 0x10);
  file.seekp(middle);
  file.put(byte);
}

}  // namespace

TEST_CASE("the weights do not depend on how many actors there are") {
  const Runs runs;
  const std::string alone = finish(runs, "alone", {"actors.count=1"}), four = finish(runs, "four", {"actors.count=4"});
  CHECK(actors_in(read_log(alone + "/queue/rank-0")).size() == 1);
  CHECK(actors_in(read_log(four + "/queue/rank-0")).size() > 1);
  CHECK(weights_of(alone) == weights_of(reference_run().folder));
  CHECK(weights_of(four) == weights_of(reference_run().folder));
}

TEST_CASE("killing an actor in the middle changes no bit of the weights") {
  const Runs runs;
  const std::string run = runs.folder("killed");
  Process train(runs.command("train", "killed"));
  REQUIRE(wait_until([&] { return updates_done(run) >= 2; }, kRunDeadline));
  const auto children = children_of(train.pid());
  const auto victim = std::find_if(children.begin(), children.end(),
                                   [](const auto& child) { return child.command_line.find("--id actor-1") != std::string::npos; });
  REQUIRE(victim != children.end());
  REQUIRE(::kill(victim->pid, SIGKILL) == 0);
  const Outcome outcome = train.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(outcome.says("actor 1 ended (signal 9)"));
  CHECK(weights_of(run) == weights_of(reference_run().folder));
  CHECK(summary_of(run).at("ledger").at("residual") == 0);
  CHECK(summary_of(run).at("ledger").at("discarded").empty());
}

TEST_CASE("a replay of the log reproduces every version and every loss") {
  const Runs runs;
  const std::string run = reference_run().folder;
  const Outcome outcome = replay(runs, run, "replayed");
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(outcome.says(weights_of(run)));
  CHECK(weights_of(runs.folder("replayed")) == weights_of(run));
  CHECK(summary_of(runs.folder("replayed")).at("ledger").at("residual") == 0);
  check_same_losses(run, runs.folder("replayed"));
}

TEST_CASE("a replay of fewer updates reproduces the version of that update") {
  const Runs runs;
  const Outcome outcome = replay(runs, reference_run().folder, "part", {"training.updates=5"});
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  const LogContent log = read_log(reference_run().folder + "/queue/rank-0");
  CHECK(weights_of(runs.folder("part")) == log.published.at(5).digest);
}

TEST_CASE("a run without lockstep is reproduced from its log too") {
  const Runs runs;
  const std::string run = finish(runs, "free", {"fleet.lockstep=false", "fleet.max_policy_lag=3"});
  const Outcome outcome = replay(runs, run, "replayed");
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(weights_of(runs.folder("replayed")) == weights_of(run));
  CHECK(summary_of(run).at("policy_lag").at("max") <= 3);
  check_same_losses(run, runs.folder("replayed"));
}

TEST_CASE("a replay with another learning rate is refused as foreign") {
  const Runs runs;
  const Outcome outcome = replay(runs, reference_run().folder, "foreign", {"training.lr=0.5"});
  INFO(outcome.output);
  CHECK(outcome.exit == 2);
  CHECK(outcome.says("foreign"));
}

TEST_CASE("one flipped byte in a log is found and named") {
  const Runs runs;
  const std::string copy = runs.folder("damaged"), segment = copy + "/queue/rank-0/q-000000000000.seg";
  std::filesystem::copy(reference_run().folder, copy, std::filesystem::copy_options::recursive);
  REQUIRE(exists(segment));
  flip_byte_in_the_middle(segment);
  const Outcome outcome = replay(runs, copy, "replayed");
  INFO(outcome.output);
  CHECK(outcome.exit == 3);
  CHECK(outcome.says(segment));
  CHECK(outcome.says("is damaged at byte"));
}
