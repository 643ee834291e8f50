#include "common/json_file.h"
#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <csignal>

using namespace nabla;

namespace {

// Judges with two pictures a prompt and returns the one run of the result.
nlohmann::ordered_json judge(const Runs& runs, const std::string& word) {
  const std::string out = runs.folder("eval.json");
  const Outcome outcome = run_nabla({"eval", word, "--noises", "2", "--out", out});
  INFO(outcome.output);
  REQUIRE(outcome.exit == 0);
  const auto result = read_json(out);
  REQUIRE(result.at("runs").size() == 1);
  CHECK(result.at("base").at("drift") == 0.0);
  return result.at("runs")[0];
}

std::string published_digest(const std::string& run, std::int64_t version) {
  for (const auto& entry : read_log(run + "/queue/rank-0").published) {
    if (entry.version == version) return entry.digest;
  }
  return "version " + std::to_string(version) + " was not published";
}

}  // namespace

TEST_CASE("a version of a run that goes on is judged while it trains, and the run does not see who asked") {
  const Runs runs;
  const std::string run = runs.folder("live");
  Process train(runs.command("train", "live", {kEndless}));
  REQUIRE(wait_until([&] { return updates_done(run) >= 3; }, kRunDeadline));
  const auto newest = judge(runs, run);
  const std::int64_t before = updates_done(run);
  // Long trimmed by the learner, so trained again from the log of the run that still writes it.
  const auto second = judge(runs, run + "@2");
  CHECK(wait_until([&] { return updates_done(run) > before; }, kRunDeadline));
  train.signal(SIGTERM);
  CHECK(train.wait().exit == 0);

  CHECK(newest.at("version").get<std::int64_t>() >= 3);
  CHECK(newest.at("weights_digest") == published_digest(run, newest.at("version").get<std::int64_t>()));
  CHECK(newest.at("trajectories") == newest.at("version").get<std::int64_t>() * kSlots);
  CHECK(newest.at("drift") > 0.0);
  CHECK(second.at("version") == 2);
  CHECK(second.at("weights_digest") == published_digest(run, 2));
  const auto summary = summary_of(run);
  CHECK(summary.at("actors_seen") == 2);
  CHECK(summary.at("ledger").at("residual") == 0);
  CHECK(summary.at("ledger").at("discarded").empty());
}

TEST_CASE("a finished run is judged by what it exported, at another version by what its log trains to") {
  const Runs runs;
  const ReferenceRun& reference = reference_run();
  const auto last = judge(runs, reference.folder), named = judge(runs, reference.folder + "@" + std::to_string(kUpdates));
  CHECK(last.at("weights_digest") == weights_of(reference.folder));
  CHECK(last.at("version") == kUpdates);
  CHECK(last.at("trajectories") == kUpdates * kSlots);
  CHECK(named.at("reward_mean") == last.at("reward_mean"));
  const auto middle = judge(runs, reference.folder + "@4"), base = judge(runs, reference.folder + "@0");
  CHECK(middle.at("weights_digest") == published_digest(reference.folder, 4));
  CHECK(middle.at("unique_transitions") == 4 * kSlots * kRows);
  CHECK(middle.at("drift") > 0.0);
  CHECK(middle.at("drift") < last.at("drift"));
  CHECK(base.at("drift") == 0.0);
  CHECK(base.at("reward_gain_sd") == 0.0);

  const Outcome beyond = run_nabla({"eval", reference.folder + "@11", "--noises", "2"});
  CHECK(beyond.exit == 3);
  CHECK(beyond.says("no version 11"));
}
