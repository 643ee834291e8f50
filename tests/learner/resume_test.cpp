#include "common/files.h"
#include "learner/checkpoint/checkpoint.h"
#include "learner/checkpoint/disk_reserve.h"
#include "tests/common/error_check.h"
#include "tests/common/sanitized.h"
#include "tests/common/small_disk.h"
#include "tests/learner/fake_fleet.h"

#include <filesystem>

using namespace nabla;
using namespace nabla::testing;

namespace {

namespace fs = std::filesystem;

FakeRun::Options stopped_after(std::int64_t update) { return {.actors = 2, .stop_after = update}; }

// The run of a fake run's folder, gone on with to its end.
struct ResumedRun {
  ResumedRun(const FakeRun& run, const RunConfig& config, const FakeWork& work = {}, const std::string& checkpoint = "") {
    FakeFleet fleet(config, work);
    watcher.started = [&](const RunFacts& facts) { fleet.start(facts.control_endpoint, 2); };
    LearnerOptions options{config, "seed: 7\n", run.folder.path(), "run-1"};
    options.resume = true;
    options.checkpoint = checkpoint;
    result = run_learner(options, watcher, watcher.stop.get_token());
    problems = fleet.end();
  }
  Watcher watcher;
  LearnerResult result;
  std::vector<std::string> problems;
};

RunConfig six_updates(const TinyModelFolder& model) {
  RunConfig config = tiny_config(model);
  config.training.updates = 6;
  config.fleet.lockstep = true;
  config.checkpoint.every = 2;
  return config;
}

void check_same_end(const RunSummary& resumed, const RunSummary& straight) {
  CHECK(resumed.exit_reason == "finished");
  CHECK(resumed.weights_digest == straight.weights_digest);
  CHECK(resumed.updates == straight.updates);
  CHECK(resumed.trajectories == straight.trajectories);
  CHECK(resumed.unique_transitions == straight.unique_transitions);
  CHECK(resumed.policy_lag_mean == straight.policy_lag_mean);
  CHECK(resumed.policy_lag_max == straight.policy_lag_max);
  CHECK(resumed.ledger.issued == straight.ledger.issued);
  CHECK(resumed.ledger.discarded == straight.ledger.discarded);
  CHECK(resumed.ledger.residual() == 0);
  REQUIRE(resumed.evaluation.size() == straight.evaluation.size());
  for (std::size_t i = 0; i < resumed.evaluation.size(); ++i) {
    CHECK(resumed.evaluation[i].update == straight.evaluation[i].update);
    CHECK(resumed.evaluation[i].rewards == straight.evaluation[i].rewards);
    CHECK(resumed.evaluation[i].drift == straight.evaluation[i].drift);
  }
}

std::vector<std::int64_t> told(const Watcher& watcher) {
  std::vector<std::int64_t> updates;
  for (const auto& report : watcher.updates) updates.push_back(report.update);
  return updates;
}

void remove_checkpoint(const FakeRun& run, std::int64_t update) {
  const std::string path = run.folder.file(fmt::format("checkpoints/update-{:06}", update));
  REQUIRE(fs::exists(path));
  fs::remove_all(path);
}

}  // namespace

TEST_CASE("a stopped run goes on from its checkpoint to the same end, whatever the objective's own weights") {
  const TinyModelFolder model;
  for (const bool relabel : {false, true}) {
    RunConfig config = six_updates(model);
    config.fleet.relabel_before_update = relabel;
    config.model.unet_reg_anchor = relabel ? "ema" : "previous";
    config.eval.every = 2;
    const FakeRun straight(config, {.actors = 2}), stopped(config, stopped_after(3));
    REQUIRE(stopped.result.summary.exit_reason == "stopped");
    const ResumedRun resumed(stopped, config);
    REQUIRE_FALSE(resumed.result.error);
    CHECK(resumed.problems == std::vector<std::string>());
    CHECK(resumed.watcher.facts.first_update == 3);
    CHECK(told(resumed.watcher) == std::vector<std::int64_t>{4, 5, 6});
    check_same_end(resumed.result.summary, straight.result.summary);
  }
}

TEST_CASE("updates that the log knows and the checkpoint does not are trained again, and checked") {
  const TinyModelFolder model;
  for (const bool relabel : {false, true}) {
    RunConfig config = six_updates(model);
    config.fleet.relabel_before_update = relabel;
    const FakeWork work{.instead = {{6, {{"x", at::full({3, 4, 4, 4}, NAN)}}}, {17, {{"x", at::full({3, 4, 4, 4}, NAN)}}}}};
    const FakeRun straight(config, {.actors = 2, .work = work}), stopped(config, {.actors = 2, .stop_after = 5, .work = work});
    remove_checkpoint(stopped, 5);
    const ResumedRun resumed(stopped, config, work);
    REQUIRE_FALSE(resumed.result.error);
    CHECK(resumed.watcher.facts.first_update == 4);
    CHECK(told(resumed.watcher) == std::vector<std::int64_t>{5, 6});
    check_same_end(resumed.result.summary, straight.result.summary);
    CHECK(resumed.result.summary.ledger.discarded.size() == 1);
  }
}

TEST_CASE("a run without any checkpoint is trained again from its log") {
  const TinyModelFolder model;
  const RunConfig config = six_updates(model);
  const FakeRun straight(config, {.actors = 2}), stopped(config, stopped_after(5));
  fs::remove_all(stopped.folder.file("checkpoints"));
  const ResumedRun resumed(stopped, config);
  REQUIRE_FALSE(resumed.result.error);
  CHECK(told(resumed.watcher) == std::vector<std::int64_t>{1, 2, 3, 4, 5, 6});
  check_same_end(resumed.result.summary, straight.result.summary);
}

TEST_CASE("a finished run that goes on has nothing to do and says the same") {
  const TinyModelFolder model;
  const RunConfig config = six_updates(model);
  const FakeRun finished(config, {.actors = 2});
  const ResumedRun again(finished, config);
  REQUIRE_FALSE(again.result.error);
  CHECK(told(again.watcher).empty());
  check_same_end(again.result.summary, finished.result.summary);
}

TEST_CASE("weights that do not come out again stop a run that goes on") {
  const TinyModelFolder model;
  const RunConfig config = six_updates(model);
  const FakeRun stopped(config, stopped_after(3));
  remove_checkpoint(stopped, 3);
  Checkpoint checkpoint = load_checkpoint(stopped.folder.file("checkpoints/update-000002"));
  checkpoint.training.at("lora_optimizer.first_moment.0000").add_(1.0);
  write_checkpoint_folder(stopped.folder.file("checkpoints"), 2, files_of(checkpoint));
  const ResumedRun resumed(stopped, config);
  REQUIRE(resumed.result.error);
  check_error(
      ExitCode::kFailure, [&] { std::rethrow_exception(resumed.result.error); }, "replay_diverged", "version 3");
}

TEST_CASE("a replay from a checkpoint trains what comes after it, and checks every version") {
  const TinyModelFolder model;
  const RunConfig config = six_updates(model);
  const FakeRun run(config, {.actors = 2});
  const std::string from = run.folder.file("checkpoints/update-000004");
  const auto replay = [&](Watcher& watcher) {
    const TemporaryFolder target;
    ReplayOptions options{config, "seed: 7\n", {run.folder.file("queue/rank-0")}, target.path(), "replay-1"};
    options.from = from;
    return replay_logs(options, watcher, {});
  };
  Watcher watcher;
  const LearnerResult result = replay(watcher);
  REQUIRE_FALSE(result.error);
  CHECK(told(watcher) == std::vector<std::int64_t>{5, 6});
  CHECK(result.summary.weights_digest == run.result.summary.weights_digest);
  CHECK(result.summary.ledger.residual() == 0);
  Checkpoint checkpoint = load_checkpoint(from);
  checkpoint.training.at("flow_optimizer.second_moment.0000").add_(1.0);
  checkpoint.training.at("lora_optimizer.second_moment.0000").add_(1.0);
  write_checkpoint_folder(run.folder.file("checkpoints"), 4, files_of(checkpoint));
  const LearnerResult diverged = replay(watcher);
  REQUIRE(diverged.error);
  check_error(
      ExitCode::kFailure, [&] { std::rethrow_exception(diverged.error); }, "replay_diverged", "version 5");
}

TEST_CASE("what cannot go on is refused: another contract, fewer updates than were trained, a lost log") {
  const TinyModelFolder model;
  const RunConfig config = six_updates(model);
  const FakeRun stopped(config, stopped_after(3));
  RunConfig other = config;
  other.training.lr = 0.5;
  check_error(
      ExitCode::kData, [&] { ResumedRun(stopped, other); }, "weights contract");
  RunConfig fewer = config;
  fewer.training.updates = 2;
  check_error(
      ExitCode::kUsage, [&] { ResumedRun(stopped, fewer); }, "training.updates is 2");
  fs::remove_all(stopped.folder.file("queue"));
  check_error(
      ExitCode::kData, [&] { ResumedRun(stopped, config); }, "holds no log");
}

TEST_CASE("a run that fills its disk ends with a checkpoint in the room that was kept for it, and goes on from it to the same end") {
  if (testing::kSanitized) {
    MESSAGE("skipped: takes minutes with a sanitizer");
    return;
  }
  const TinyModelFolder model;
  RunConfig config = six_updates(model);
  config.training.gradient_accumulation_steps = 50;
  config.checkpoint.every = 0;
  const FakeRun straight(config, {.actors = 2});
  const auto log = fs::file_size(straight.folder.file("queue/rank-0/q-000000000000.seg"));
  constexpr std::uint64_t kBallast = 32 << 20;
  on_small_disk(kBallast + log / 2, [&](const std::string& folder) {
    DiskReserve ballast(folder + "/ballast");
    ballast.hold(kBallast - (1 << 20));  // which is for the reserve
    Watcher watcher;
    const auto run = [&](bool resume) {
      FakeFleet fleet(config, {});
      watcher.started = [&](const RunFacts& facts) { fleet.start(facts.control_endpoint, 2); };
      LearnerOptions options{config, "seed: 7\n", folder, "run-1"};
      options.resume = resume;
      LearnerResult result = run_learner(options, watcher, {});
      fleet.end();
      return result;
    };
    const LearnerResult full = run(false);
    REQUIRE(full.error);
    check_error(
        ExitCode::kFailure, [&] { std::rethrow_exception(full.error); }, "the disk is full");
    CHECK(full.summary.updates > 0);
    const auto checkpoints = find_checkpoints(folder + "/checkpoints");
    REQUIRE(checkpoints.size() == 1);
    CHECK(checkpoints.front().next_update == full.summary.updates);
    CHECK_FALSE(fs::exists(folder + "/checkpoints.reserve"));
    ballast.release();
    check_same_end(run(true).summary, straight.result.summary);
    CHECK(watcher.facts.first_update == full.summary.updates);
  });
}

TEST_CASE("a run that is asked for a checkpoint writes one at the next boundary, once, and goes on") {
  const TinyModelFolder model;
  RunConfig config = six_updates(model);
  config.checkpoint.every = 0;
  const auto wanted = std::make_shared<std::atomic<bool>>(true);
  const FakeRun run(config, {.actors = 2, .checkpoint_wanted = wanted});
  CHECK(run.result.summary.exit_reason == "finished");
  CHECK_FALSE(*wanted);
  const auto checkpoints = find_checkpoints(run.folder.file("checkpoints"));
  REQUIRE(checkpoints.size() == 1);
  CHECK(checkpoints.front().next_update <= 1);
  load_checkpoint(checkpoints.front().path);
}

TEST_CASE("a checkpoint that cannot be written ends the run with the reason, and the log stays whole") {
  const TinyModelFolder model;
  RunConfig config = six_updates(model);
  config.training.updates = 1000;
  const TemporaryFolder folder;
  write_file(folder.file("checkpoints"), "in the way");
  FakeFleet fleet(config, {});
  Watcher watcher;
  watcher.started = [&](const RunFacts& facts) { fleet.start(facts.control_endpoint, 1); };
  const LearnerResult result = run_learner({config, "seed: 7\n", folder.path(), "run-1"}, watcher, {});
  fleet.end();
  REQUIRE(result.error);
  check_error(
      ExitCode::kFailure, [&] { std::rethrow_exception(result.error); }, "[checkpoint]", folder.file("checkpoints"));
  CHECK(result.summary.exit_reason.starts_with("failed: [checkpoint]"));
  CHECK(result.summary.updates < 10);
  CHECK(result.summary.ledger.residual() == 0);
  const TemporaryFolder target;
  config.training.updates = result.summary.updates;
  const LearnerResult replayed = replay_logs({config, "seed: 7\n", {folder.file("queue/rank-0")}, target.path(), "replay-1"}, watcher, {});
  CHECK(replayed.summary.weights_digest == result.summary.weights_digest);
}
