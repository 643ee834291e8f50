// One log, replayed by several ranks.
#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <utility>

using namespace nabla;

namespace {

constexpr const char* kTwenty = "training.updates=20";

// A run of 20 updates, made once.
const std::string& long_run() {
  static const Runs runs;
  static const std::string folder = [] {
    const Outcome outcome = Process(runs.command("train", "long", {kTwenty})).wait();
    INFO(outcome.output);
    REQUIRE(outcome.exit == 0);
    return runs.folder("long");
  }();
  return folder;
}

std::vector<std::string> replay_command(const Runs& runs, const std::string& name, const std::vector<std::string>& settings) {
  std::vector<std::string> arguments{"replay", long_run(), "run.dir=" + runs.folder(name)};
  arguments.insert(arguments.end(), settings.begin(), settings.end());
  return nabla_command(arguments);
}

std::string replay(const Runs& runs, const std::string& name, const std::vector<std::string>& settings) {
  const Outcome outcome = Process(replay_command(runs, name, settings)).wait();
  INFO(outcome.output);
  REQUIRE(outcome.exit == 0);
  return runs.folder(name);
}

// The long run replayed by two ranks, made once.
const std::string& two_ranks() {
  static const Runs runs;
  static const std::string folder = replay(runs, "2-ranks", {"learner.ranks=2", "learner.digest_every=5"});
  return folder;
}

double largest_difference(const std::string& run, const std::string& other, const char* metric) {
  const auto a = metrics_of(run), b = metrics_of(other);
  REQUIRE(a.size() == 20);
  REQUIRE(b.size() == 20);
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto x = a[i].at(metric).get<double>(), y = b[i].at(metric).get<double>();
    largest = std::max(largest, std::abs(x - y) / std::abs(x));
  }
  return largest;
}

// The processes of ranks 0 and 1 of a live run; 0: not found.
std::pair<pid_t, pid_t> ranks_of(const Process& train) {
  pid_t learner = 0, other = 0;
  for (const auto& child : children_of(train.pid()))
    learner = child.command_line.find(" learner ") == std::string::npos ? learner : child.pid;
  for (const auto& child : children_of(learner)) other = child.command_line.find("--rank 1") == std::string::npos ? other : child.pid;
  return {learner, other};
}

}  // namespace

TEST_CASE("one log replayed by 1, 2 and 4 ranks has the same losses, and no transition is trained twice") {
  const Runs runs;
  const std::string one = replay(runs, "one", {});
  CHECK(weights_of(one) == weights_of(long_run()));
  for (const std::string& several : {two_ranks(), replay(runs, "4-ranks", {"learner.ranks=4", "learner.digest_every=5"})}) {
    CAPTURE(several);
    CHECK(largest_difference(one, several, "loss") < 1e-6);
    CHECK(largest_difference(one, several, "reward_mean") == 0.0);
    const auto all = summary_of(several), alone = summary_of(one);
    CHECK(all.at("trajectories") == alone.at("trajectories"));
    CHECK(all.at("counters") == alone.at("counters"));
  }
}

TEST_CASE("two ranks replay what two ranks replayed, bit for bit") {
  const Runs runs;
  CHECK(weights_of(replay(runs, "again", {"learner.ranks=2"})) == weights_of(two_ranks()));
}

TEST_CASE("a rank that is killed in a replay ends it with exit code 4, its number and no rank left behind") {
  const Runs runs;
  for (const int signal : {SIGKILL, SIGSTOP}) {
    CAPTURE(signal);
    const std::string name = "lost-" + std::to_string(signal);
    Process ranks(replay_command(runs, name, {"learner.ranks=2", "learner.collective_deadline=4"}));
    REQUIRE(wait_until([&] { return updates_done(runs.folder(name)) >= 1; }, kRunDeadline));
    const auto others = children_of(ranks.pid());
    REQUIRE(others.size() == 1);
    kill(others.front().pid, signal);
    const Outcome outcome = ranks.wait();
    INFO(outcome.output);
    CHECK(outcome.exit == 4);
    CHECK(outcome.says("rank 1 has been silent"));
    CHECK_FALSE(is_alive(others.front().pid));
  }
}

TEST_CASE("Ctrl-C stops all ranks of a replay") {
  const Runs runs;
  Process ranks(replay_command(runs, "stopped", {"learner.ranks=2"}));
  REQUIRE(wait_until([&] { return updates_done(runs.folder("stopped")) >= 1; }, kRunDeadline));
  const auto others = children_of(ranks.pid());
  ranks.signal(SIGINT);
  const Outcome outcome = ranks.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  for (const auto& other : others) CHECK_FALSE(is_alive(other.pid));
}

TEST_CASE("a live run on two ranks trains as one rank does, and its log replays on two ranks bit for bit") {
  const Runs runs;
  const Outcome outcome = Process(runs.command("train", "live", {"learner.ranks=2", "learner.digest_every=1"})).wait();
  INFO(outcome.output);
  REQUIRE(outcome.exit == 0);
  const auto live = metrics_of(runs.folder("live")), one = metrics_of(reference_run().folder);
  REQUIRE(live.size() == one.size());
  CHECK(live.front().at("loss").get<double>() == doctest::Approx(one.front().at("loss").get<double>()).epsilon(1e-6));
  CHECK(live.back().at("loss").get<double>() == doctest::Approx(one.back().at("loss").get<double>()).epsilon(1e-3));
  CHECK(summary_of(runs.folder("live")).at("ledger").at("residual") == 0);
  const Outcome again = run_nabla({"replay", runs.folder("live"), "run.dir=" + runs.folder("again")});
  INFO(again.output);
  CHECK(again.exit == 0);
  CHECK_FALSE(again.says("not compared"));
  CHECK(weights_of(runs.folder("again")) == weights_of(runs.folder("live")));
  // It goes on as two ranks without being told so again.
  const Outcome further = run_nabla({"learner", "--resume", runs.folder("live")});
  INFO(further.output);
  CHECK(further.exit == 0);
  CHECK(further.says("2 ranks on this machine"));
  CHECK(weights_of(runs.folder("live")) == weights_of(runs.folder("again")));
}

TEST_CASE("a rank that is killed in a live run ends it with exit code 4, its number and no process left behind") {
  const Runs runs;
  Process train(runs.command("train", "live", {kEndless, "learner.ranks=2", "learner.collective_deadline=4", "learner.max_restarts=0"}));
  REQUIRE(wait_until([&] { return updates_done(runs.folder("live")) >= 1; }, kRunDeadline));
  const auto [learner, other] = ranks_of(train);
  REQUIRE(other != 0);
  kill(other, SIGKILL);
  const Outcome outcome = train.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 4);
  CHECK(outcome.says("rank 1 has been silent"));
  CHECK(summary_of(runs.folder("live")).at("exit_reason").get<std::string>().find("rank 1") != std::string::npos);
  CHECK_FALSE(is_alive(learner));
}

TEST_CASE("ranks of which one was killed start again together, and train to the weights of a run that was left alone") {
  const Runs runs;
  const std::vector<std::string> settings{"training.updates=16", "learner.ranks=2", "learner.collective_deadline=4", "checkpoint.every=3"};
  const Outcome whole = Process(runs.command("train", "whole", settings)).wait();
  INFO(whole.output);
  REQUIRE(whole.exit == 0);
  Process train(runs.command("train", "live", settings));
  REQUIRE(wait_until([&] { return updates_done(runs.folder("live")) >= 4; }, kRunDeadline));
  const pid_t other = ranks_of(train).second;
  REQUIRE(other != 0);
  kill(other, SIGKILL);
  const Outcome outcome = train.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(outcome.says("started again"));
  CHECK(weights_of(runs.folder("live")) == weights_of(runs.folder("whole")));
}

TEST_CASE("a stop reaches every rank of a live run") {
  const Runs runs;
  Process train(runs.command("train", "live", {kEndless, "learner.ranks=2"}));
  REQUIRE(wait_until([&] { return updates_done(runs.folder("live")) >= 1; }, kRunDeadline));
  train.signal(SIGINT);
  const Outcome outcome = train.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(summary_of(runs.folder("live")).at("exit_reason") == "stopped");
}

TEST_CASE("tickets that would span ranks are refused before anything starts") {
  const Runs runs;
  const Outcome outcome = Process(runs.command("train", "live", {"learner.ranks=3"})).wait();
  CHECK(outcome.exit == 2);
  CHECK(outcome.says("learner.ranks 3"));
  CHECK_FALSE(exists(runs.folder("live")));
}
