#include "learner/run_session.h"
#include "tests/common/error_check.h"
#include "tests/learner/fake_fleet.h"

using namespace nabla;
using namespace nabla::testing;

namespace {

// A log of the tiny run, written by hand.
class HandWrittenLog {
 public:
  explicit HandWrittenLog(const RunConfig& config) : config_(config), session_(config, folder_.path(), "run-1", watcher_) {
    TrajectoryLogOptions options;
    options.folder = folder_.file("queue/rank-0");
    log_ = TrajectoryLog::create(options, {"run-1", session_.weights_contract(), "seed: 7\n"});
  }
  HandWrittenLog& add(const LogEntry& entry) {
    log_->append(entry);
    return *this;
  }
  HandWrittenLog& start() { return add(PublishEntry{0, session_.model().policy->digest()}); }
  LearnerResult replay() {
    log_->close();
    const TemporaryFolder target;
    return replay_logs({config_, "seed: 7\n", {folder_.file("queue/rank-0")}, target.path(), "replay-1"}, watcher_, {});
  }

 private:
  RunConfig config_;
  TemporaryFolder folder_;
  Watcher watcher_;
  RunSession session_;
  std::unique_ptr<TrajectoryLog> log_;
};

// A log of another run of the tiny model, with random records for `config`.
class ForeignLogFolder {
 public:
  ForeignLogFolder(const RunConfig& config, std::int64_t slots) : config_(config) {
    const TinyLearner tiny(config);
    TrajectoryLogOptions options;
    options.folder = folder_.file("queue/rank-0");
    const auto log = TrajectoryLog::create(options, {"old-run", "another contract", "seed: 7\n", tiny.model.base_digest});
    for (std::int64_t slot = 0; slot < slots; ++slot) {
      const SlotOrder order = tiny.plan.order_of(slot);
      log->append(
          tiny_record({.run_id = "old-run"}, order, tiny.model.table, tiny.tokenizer.encode(order.prompt), {}, record_needs_of(config)));
    }
    log->close();
  }
  LearnerResult replay(const RunConfig& config, Watcher& watcher) const {
    const TemporaryFolder target;
    return replay_logs({config, "", {folder_.file("queue/rank-0")}, target.path(), "replay-1", [this](const std::string&) { return config_; }}, watcher,
                       watcher.stop.get_token());
  }

 private:
  RunConfig config_;
  TemporaryFolder folder_;
};

std::map<std::int64_t, std::string> published(const std::string& run_folder) {
  std::map<std::int64_t, std::string> digests;
  for (const auto& entry : entries_of(run_folder)) {
    if (const auto* publish = std::get_if<PublishEntry>(&entry)) digests[publish->version] = publish->digest;
  }
  return digests;
}

}  // namespace

TEST_CASE("a replay reproduces the weights of its run, in lockstep and without it") {
  const TinyModelFolder model;
  for (const bool lockstep : {false, true}) {
    RunConfig config = tiny_config(model);
    config.fleet.lockstep = lockstep;
    const FakeRun run(config, {.actors = 2, .work = {.instead = {{6, {{"x", at::full({3, 4, 4, 4}, NAN)}}}}}});
    Watcher watcher;
    const LearnerResult replay = run.replay(config, watcher);
    REQUIRE_FALSE(replay.error);
    CHECK(replay.summary.exit_reason == "finished");
    CHECK(replay.summary.weights_digest == run.result.summary.weights_digest);
    CHECK(replay.summary.updates == 3);
    CHECK(replay.summary.trajectories == 11);
    CHECK(replay.summary.policy_lag_max == run.result.summary.policy_lag_max);
    CHECK(replay.summary.ledger.residual() == 0);
    REQUIRE(watcher.updates.size() == 3);
    CHECK(watcher.updates.back().metrics.at("loss") == run.watcher.updates.back().metrics.at("loss"));
  }
}

TEST_CASE("a replay of fewer updates ends at that version") {
  const TinyModelFolder model;
  const FakeRun run(tiny_config(model), {});
  RunConfig config = run.config;
  config.training.updates = 2;
  Watcher watcher;
  const LearnerResult replay = run.replay(config, watcher);
  REQUIRE_FALSE(replay.error);
  CHECK(replay.summary.weights_digest == published(run.folder.path()).at(2));
  CHECK(replay.summary.ledger.outstanding == 0);
}

TEST_CASE("a replay of a run that was stopped ends where the run did") {
  const TinyModelFolder model;
  RunConfig config = tiny_config(model);
  config.training.updates = 1000;
  const FakeRun run(config, {.stop_after = 2});
  Watcher watcher;
  const LearnerResult replay = run.replay(config, watcher);
  REQUIRE_FALSE(replay.error);
  CHECK(replay.summary.updates == 2);
  CHECK(replay.summary.weights_digest == run.result.summary.weights_digest);
  CHECK(replay.summary.ledger.residual() == 0);
}

TEST_CASE("a replay is stopped between two updates") {
  const TinyModelFolder model;
  const FakeRun run(tiny_config(model), {});
  Watcher watcher;
  watcher.stop_after = 1;
  const LearnerResult replay = run.replay(run.config, watcher);
  CHECK(replay.summary.exit_reason == "stopped");
  CHECK(replay.summary.updates == 1);
}

TEST_CASE("weights that come out otherwise stop a replay at their version") {
  const TinyModelFolder model;
  const LearnerResult replay = HandWrittenLog(tiny_config(model)).add(PublishEntry{0, "0123"}).replay();
  REQUIRE(replay.error);
  check_error(
      ExitCode::kFailure, [&] { std::rethrow_exception(replay.error); }, "replay_diverged", "version 0", "0123");
}

TEST_CASE("records of another run's making are refused as foreign") {
  const TinyModelFolder model;
  const FakeRun run(tiny_config(model), {});
  RunConfig config = run.config;
  config.training.lr = 5e-4;
  Watcher watcher;
  check_error(
      ExitCode::kUsage, [&] { run.replay(config, watcher); }, "foreign", "config.yaml", "nabla relabel");
}

TEST_CASE("a run that relabels trains on what was recomputed, and a replay reproduces it") {
  const TinyModelFolder model;
  RunConfig config = tiny_config(model);
  config.fleet.lockstep = true;
  const FakeRun plain(config, {});
  config.fleet.relabel_before_update = true;
  config.fleet.publish_every = 2;
  config.fleet.lockstep_delay = 1;
  config.fleet.max_policy_lag = 3;
  const FakeRun one(config, {.actors = 1}), three(config, {.actors = 3});
  for (const auto* run : {&one, &three}) {
    REQUIRE_FALSE(run->result.error);
    CHECK(run->problems == std::vector<std::string>());
    CHECK(run->result.summary.trajectories == 12);
    CHECK(run->result.summary.unique_transitions == 36);
    CHECK(run->result.summary.ledger.issued == 12);
    CHECK(run->result.summary.ledger.residual() == 0);
  }
  CHECK(three.result.summary.weights_digest == one.result.summary.weights_digest);
  CHECK(one.result.summary.weights_digest != plain.result.summary.weights_digest);
  CHECK(published(one.folder.path()).size() == 4);  // every version is named by a relabel ticket, or is the last
  Watcher watcher;
  const LearnerResult replay = three.replay(config, watcher);
  REQUIRE_FALSE(replay.error);
  CHECK(replay.summary.weights_digest == one.result.summary.weights_digest);
  CHECK(replay.summary.ledger.residual() == 0);
}

TEST_CASE("foreign records train another configuration, group by group, with the distance from the base among the metrics") {
  const TinyModelFolder model;
  RunConfig config = tiny_config(model);
  config.training.gradient_accumulation_steps = 1;  // updates of two slots
  config.training.updates = 100;
  config.model.gradient = "reference_fl";
  config.model.reverse_target = "true_gradient";
  config.model.unet_reg_anchor = "previous";
  const ForeignLogFolder log(config, 7);
  Watcher first, second;
  const LearnerResult replay = log.replay(config, first), again = log.replay(config, second);
  REQUIRE_FALSE(replay.error);
  CHECK(replay.summary.exit_reason == "finished");
  CHECK(replay.summary.updates == 3);
  CHECK(replay.summary.trajectories == 6);
  CHECK(replay.summary.ledger.issued == 6);  // one is left over
  CHECK(replay.summary.ledger.outstanding == 0);
  CHECK(replay.summary.ledger.residual() == 0);
  CHECK(replay.summary.weights_digest == again.summary.weights_digest);
  REQUIRE(first.updates.size() == 3);
  CHECK(first.updates.front().metrics.at("unet_l2_to_ref") > 0);
  CHECK_FALSE(first.updates.front().metrics.contains("policy_lag/mean"));
  CHECK(replay.summary.policy_lag_max == 0);
  config.model.unet_reg_anchor = "behaviour";
  check_error(
      ExitCode::kUsage, [&] { log.replay(config, second); }, "foreign", "old-run", "copy that run's policy");
  config.model.unet_reg_anchor = "previous";
  config.training.batch_size = 16;
  const LearnerResult none = log.replay(config, second);
  REQUIRE(none.error);
  check_error(
      ExitCode::kData, [&] { std::rethrow_exception(none.error); }, "7 trajectories", "16");
}

TEST_CASE("foreign records that a stop leaves untrained are outstanding") {
  const TinyModelFolder model;
  RunConfig config = tiny_config(model);
  config.training.gradient_accumulation_steps = 1;
  config.training.updates = 100;
  config.model.gradient = "reference_fl";
  config.model.reverse_target = "true_gradient";
  config.model.unet_reg_anchor = "previous";
  Watcher watcher;
  watcher.stop_after = 1;
  const LearnerResult replay = ForeignLogFolder(config, 7).replay(config, watcher);
  CHECK(replay.summary.exit_reason == "stopped");
  CHECK(replay.summary.ledger.issued == 6);
  CHECK(replay.summary.ledger.trained == 2);
  CHECK(replay.summary.ledger.outstanding == 4);
  CHECK(replay.summary.ledger.residual() == 0);
}

TEST_CASE("a log from which records are missing stops a replay") {
  const TinyModelFolder model;
  for (const std::vector<std::int64_t>& slots : {std::vector<std::int64_t>{0, 1, 2, 3}, std::vector<std::int64_t>{}}) {
    HandWrittenLog log(tiny_config(model));
    const LearnerResult replay = log.start().add(TrainedEntry{0, slots}).replay();
    REQUIRE(replay.error);
    check_error(
        ExitCode::kData, [&] { std::rethrow_exception(replay.error); }, "update 0", "missing");
  }
}

TEST_CASE("a log that skips a version stops a replay") {
  const TinyModelFolder model;
  HandWrittenLog log(tiny_config(model));
  const LearnerResult replay = log.start().add(PublishEntry{1, "0123"}).replay();
  REQUIRE(replay.error);
  check_error(
      ExitCode::kData, [&] { std::rethrow_exception(replay.error); }, "version 1", "missing");
}

TEST_CASE("a folder without a log is named") {
  const TinyModelFolder model;
  const TemporaryFolder empty;
  Watcher watcher;
  check_error(
      ExitCode::kData,
      [&] {
        replay_logs({tiny_config(model), "", {empty.path()}, empty.path(), "replay-1"}, watcher, {});
      },
      empty.path());
  check_error(
      ExitCode::kUsage,
      [&] {
        replay_logs({tiny_config(model), "", {empty.path(), empty.path()}, empty.path(), "replay-1"}, watcher, {});
      },
      "2 logs");
}
