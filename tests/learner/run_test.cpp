#include "tests/common/error_check.h"
#include "tests/common/small_disk.h"
#include "tests/learner/fake_fleet.h"

#include <algorithm>
#include <filesystem>
#include <set>

using namespace nabla;
using namespace nabla::testing;

namespace {

void check_residual_free(const LedgerSummary& ledger) {
  INFO("issued ", ledger.issued, " trained ", ledger.trained, " outstanding ", ledger.outstanding);
  CHECK(ledger.residual() == 0);
}

std::vector<std::int64_t> evaluated(const RunSummary& summary) {
  std::vector<std::int64_t> updates;
  for (const auto& evaluation : summary.evaluation) updates.push_back(evaluation.update);
  return updates;
}

}  // namespace

TEST_CASE("a run trains every update, judges the first and the last version and leaves no address behind") {
  const TinyModelFolder model;
  const FakeRun run(tiny_config(model), {.actors = 2});
  const RunSummary& summary = run.result.summary;
  REQUIRE_FALSE(run.result.error);
  CHECK(run.problems == std::vector<std::string>());
  CHECK(summary.exit_reason == "finished");
  CHECK(summary.updates == 3);
  CHECK(summary.trajectories == 12);
  CHECK(summary.unique_transitions == 36);
  CHECK(summary.actors_seen == 2);
  CHECK(summary.ledger.issued == 12);
  CHECK(summary.ledger.outstanding == 0);
  check_residual_free(summary.ledger);
  CHECK(run.watcher.updates.size() == 3);
  CHECK(summary.policy_lag_max <= 1);
  CHECK(evaluated(summary) == std::vector<std::int64_t>{0, 3});
  CHECK(summary.evaluation.front().reward_mean == doctest::Approx(0.25));
  CHECK(summary.evaluation.back().reward_mean == doctest::Approx(3.25));
  CHECK(summary.evaluation.front().drift == 0.0);
  CHECK(summary.evaluation.back().drift > 0.0);
  CHECK_FALSE(std::filesystem::exists(run.folder.file("endpoints.json")));
  const std::string socket = run.watcher.facts.control_endpoint.substr(std::string("ipc://").size());
  CHECK_FALSE(std::filesystem::exists(std::filesystem::path(socket).parent_path()));
  for (const auto* name : {"pytorch_lora_weights.safetensors", "nabla_webui.safetensors", "README.md"})
    CHECK(std::filesystem::exists(run.folder.file("export/") + name));
}

TEST_CASE("evaluations between the first and the last version come every eval.every updates") {
  const TinyModelFolder model;
  RunConfig config = tiny_config(model);
  config.eval.every = 2;
  CHECK(evaluated(FakeRun(config, {}).result.summary) == std::vector<std::int64_t>{0, 2, 3});
}

TEST_CASE("the journal holds a version before anything made with it, and an update before the version it made") {
  const TinyModelFolder model;
  const FakeRun run(tiny_config(model), {});
  std::set<std::int64_t> published;
  std::int64_t trained = 0;
  for (const auto& entry : entries_of(run.folder.path())) {
    if (const auto* publish = std::get_if<PublishEntry>(&entry)) {
      CHECK(publish->version == trained);
      published.insert(publish->version);
    } else if (const auto* update = std::get_if<TrainedEntry>(&entry)) {
      CHECK(update->update == trained++);
      CHECK(update->slots.size() == 4);
    } else if (const auto* record = std::get_if<EncodedRecord>(&entry)) {
      CHECK(published.contains(decode_record(*record, {}).record.header.version));
    }
  }
  CHECK(published == std::set<std::int64_t>{0, 1, 2, 3});
}

TEST_CASE("lockstep gives the same weights whatever the number of actors") {
  const TinyModelFolder model;
  RunConfig config = tiny_config(model);
  config.fleet.lockstep = true;
  config.fleet.publish_every = 2;
  const FakeRun one(config, {.actors = 1}), three(config, {.actors = 3});
  CHECK(one.result.summary.exit_reason == "finished");
  CHECK(one.result.summary.weights_digest == three.result.summary.weights_digest);
  CHECK(one.result.summary.policy_lag_max == 1);
}

TEST_CASE("a stop ends the run within five seconds with a ledger that adds up") {
  const TinyModelFolder model;
  RunConfig config = tiny_config(model);
  config.training.updates = 1000;
  const FakeRun run(config, {.actors = 2, .stop_after = 2});
  const RunSummary& summary = run.result.summary;
  REQUIRE_FALSE(run.result.error);
  CHECK(run.problems == std::vector<std::string>());
  CHECK(summary.exit_reason == "stopped");
  CHECK(summary.updates == 2);
  CHECK(summary.wall_s - run.watcher.updates.back().wall_s < 5.0);
  check_residual_free(summary.ledger);
  CHECK_FALSE(std::filesystem::exists(run.folder.file("endpoints.json")));
}

TEST_CASE("a stop before the last evaluation came is a stop") {
  const TinyModelFolder model;
  const FakeRun run(tiny_config(model), {.stop_after = 3, .work = {.withheld_evaluation = 3}});
  CHECK(run.result.summary.exit_reason == "stopped");
  CHECK(run.result.summary.updates == 3);
}

TEST_CASE("a run without actors says so while it waits, and gives up with exit code 4") {
  const TinyModelFolder model;
  RunConfig config = tiny_config(model);
  config.fleet.actor_deadline_s = 0.3;
  const FakeRun run(config, {.actors = 0});
  REQUIRE(run.result.error);
  check_error(
      ExitCode::kNetwork, [&] { std::rethrow_exception(run.result.error); }, "fleet.actor_deadline", run.folder.path());
  CHECK(run.result.summary.exit_reason.starts_with("failed: "));
  REQUIRE_FALSE(run.watcher.waits.empty());
  CHECK(run.watcher.waits.front().find("no actor is connected") != std::string::npos);
  CHECK(std::filesystem::exists(run.folder.file("export/pytorch_lora_weights.safetensors")));
}

TEST_CASE("a run whose only actor lives and does nothing any more gives up and names it") {
  const TinyModelFolder model;
  RunConfig config = tiny_config(model);
  config.fleet.actor_deadline_s = config.fleet.ticket_timeout_s = 2.0;  // a busy machine lets an actor wait for a while
  const FakeRun run(config, {.work = {.withheld_evaluation = 3}});
  REQUIRE(run.result.error);
  check_error(
      ExitCode::kNetwork, [&] { std::rethrow_exception(run.result.error); }, "fleet.actor_deadline", "actor-1 (process 1 on host)");
  CHECK(run.result.summary.updates == 3);
  check_residual_free(run.result.summary.ledger);
}

TEST_CASE("a disk that is full in the middle of an update ends the run there, and the log holds what was acknowledged") {
  const TinyModelFolder model;
  RunConfig config = tiny_config(model);
  config.fleet.max_policy_lag = 3;
  config.training.updates = 1;
  config.training.gradient_accumulation_steps = 100;
  const auto log_bytes = [](const FakeRun& run) { return std::filesystem::file_size(run.folder.file("queue/rank-0/q-000000000000.seg")); };
  const std::uintmax_t one_update = log_bytes(FakeRun(config, {}));
  const auto slots = static_cast<std::uintmax_t>(config.slots_per_update());
  config.training.updates = 4;
  // Records of the second update come while the first is trained; there is room for a tenth of them.
  const FileSizeLimit limit(one_update + one_update / 10);
  const FakeRun run(config, {.actors = 2});
  REQUIRE(run.result.error);
  check_error(
      ExitCode::kFailure, [&] { std::rethrow_exception(run.result.error); }, "q-000000000000.seg", "Free some space");
  CHECK(run.result.summary.updates == 0);
  check_residual_free(run.result.summary.ledger);
  const auto entries = entries_of(run.folder.path());
  const auto logged = std::ranges::count_if(entries, [](const LogEntry& entry) { return std::holds_alternative<EncodedRecord>(entry); });
  CHECK(static_cast<std::uintmax_t>(logged) >= slots);
  CHECK(logged == run.result.summary.counters.at("acks") - run.result.summary.counters.at("evaluations"));
}

TEST_CASE("a loss that is not finite ends the run with exit code 6 and the weights of before") {
  const TinyModelFolder model;
  const FakeRun run(tiny_config(model), {.work = {.instead = {{5, {{"reward_grad_y", at::full({3, 4, 4, 4}, 1e30)}}}}}});
  REQUIRE(run.result.error);
  check_error(
      ExitCode::kNonFinite, [&] { std::rethrow_exception(run.result.error); }, "update 1", "slots 4, 5", run.folder.file("nonfinite/update-000001"), "nabla probe loss");
  for (const auto* name : {"batch.safetensors", "lora.safetensors", "flow/config.json", "flow/diffusion_pytorch_model.safetensors", "config.yaml", "command.sh"})
    CHECK(std::filesystem::exists(run.folder.file("nonfinite/update-000001/") + name));
  const RunSummary& summary = run.result.summary;
  CHECK(summary.updates == 1);
  check_residual_free(summary.ledger);
  std::string last;
  for (const auto& entry : entries_of(run.folder.path())) {
    if (const auto* publish = std::get_if<PublishEntry>(&entry)) last = publish->digest;
  }
  CHECK(summary.weights_digest == last);
}

TEST_CASE("a slot with values that are not finite is discarded and the update goes on without it") {
  const TinyModelFolder model;
  const FakeRun run(tiny_config(model), {.work = {.instead = {{6, {{"x", at::full({3, 4, 4, 4}, NAN)}}}}}});
  const RunSummary& summary = run.result.summary;
  CHECK(summary.exit_reason == "finished");
  CHECK(summary.trajectories == 11);
  CHECK(summary.ledger.discarded.size() == 1);
  check_residual_free(summary.ledger);
}

TEST_CASE("a log that is there already is not written over") {
  const TinyModelFolder model;
  const FakeRun run(tiny_config(model), {});
  Watcher watcher;
  check_error(
      ExitCode::kFailure,
      [&] {
        run_learner({run.config, "seed: 7\n", run.folder.path(), "run-2"}, watcher, {});
      },
      run.folder.path());
}
