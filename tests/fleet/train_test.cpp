#include "common/diffusion/lora.h"
#include "common/diffusion/model_folder.h"
#include "common/files.h"
#include "common/json_file.h"
#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <set>

using namespace nabla;

namespace {

constexpr std::int64_t kTrajectories = kUpdates * kSlots;
constexpr std::size_t kMaxFile = 16 << 20;

}  // namespace

TEST_CASE("a run ends with a summary that holds what scripts read") {
  const ReferenceRun& run = reference_run();
  const auto summary = summary_of(run.folder);
  CHECK(summary.at("exit_reason") == "finished");
  CHECK(summary.at("updates") == kUpdates);
  CHECK(summary.at("trajectories") == kTrajectories);
  CHECK(summary.at("unique_transitions") == kTrajectories * kRows);
  CHECK(summary.at("wall_s") > 0.0);
  CHECK(summary.at("actors_seen") == 2);
  CHECK(summary.at("policy_lag").at("mean") == 0.0);
  CHECK(summary.at("policy_lag").at("max") == 0);
  for (const auto* stage : {"sampling", "reward_gradient", "reference", "learner", "wait_for_batch", "wait_for_ticket"})
    CHECK(summary.at("stage_seconds").at(stage) > 0.0);
  for (const auto* role : {"learner", "actor"}) CHECK(summary.at("peak_rss_bytes").at(role) > 1'000'000);
}

TEST_CASE("every slot of a run is accounted for") {
  const auto ledger = summary_of(reference_run().folder).at("ledger");
  CHECK(ledger.at("issued") == kTrajectories);
  CHECK(ledger.at("trained") == kTrajectories);
  CHECK(ledger.at("discarded").empty());
  CHECK(ledger.at("outstanding") == 0);
  CHECK(ledger.at("residual") == 0);
}

TEST_CASE("evaluations begin with the base model and end with the final weights") {
  const auto evaluation = summary_of(reference_run().folder).at("evaluation");
  REQUIRE(evaluation.size() == 2);
  CHECK(evaluation.front().at("update") == 0);
  CHECK(evaluation.front().at("drift") == 0.0);
  CHECK(evaluation.back().at("update") == kUpdates);
  CHECK(evaluation.back().at("drift") > 0.0);
  for (const auto& entry : evaluation) {
    CHECK(entry.at("reward_mean").is_number());
    CHECK(entry.at("reward_std") > 0.0);
  }
}

TEST_CASE("the learner pays one U-Net forward and one backward a transition") {
  const auto counters = summary_of(reference_run().folder).at("counters");
  CHECK(counters.at("learner_unet_forwards") == kTrajectories * kRows);
  CHECK(counters.at("learner_unet_backwards") == kTrajectories * kRows);
  const auto passes = summary_of(reference_run().folder).at("learner_passes_per_transition");
  CHECK(passes.at("unet_forwards") == 1.0);
  CHECK(passes.at("unet_backwards") == 1.0);
  CHECK(reference_run().outcome.says("learner, passes a transition: unet_forwards 1.00, unet_backwards 1.00"));
}

TEST_CASE("the metrics hold one line an update") {
  const auto lines = metrics_of(reference_run().folder);
  REQUIRE(static_cast<std::int64_t>(lines.size()) == kUpdates);
  double wall_s = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    CHECK(lines[i].at("update") == i + 1);
    CHECK(lines[i].at("wall_s") >= wall_s);
    wall_s = lines[i].at("wall_s").get<double>();
    for (const auto* name : {"loss", "reward_mean", "reward_std", "policy_lag/mean", "timing/learner_s"}) CHECK(lines[i].contains(name));
  }
}

TEST_CASE("the exported LoRA holds the final weights") {
  const ReferenceRun& run = reference_run();
  const auto unet = ModelFolder::open(tiny_model()).load_unet(at::kFloat);
  const TensorMap tensors = read_lora_file(run.folder + "/export/pytorch_lora_weights.safetensors", *unet);
  CHECK(digest_of(tensors) == weights_of(run.folder));
  CHECK(exists(run.folder + "/export/tiny_webui.safetensors"));
}

TEST_CASE("a run folder holds its files") {
  const std::string run = reference_run().folder;
  for (const std::string name :
       {"config.yaml", "command.txt", "env.json", "status.json", "logs/learner-0.log", "report.html", "gallery.png", "export/README.md"}) {
    INFO(name);
    REQUIRE(exists(run + "/" + name));
    CHECK_FALSE(read_file(run + "/" + name, kMaxFile).empty());
  }
  for (const std::string role : {"train-0", "actor-0", "actor-1"}) CHECK(exists(run + "/logs/" + role + ".log"));
  CHECK(read_file(run + "/command.txt", kMaxFile).find("nabla train --config") == 0);
  CHECK(read_file(run + "/report.html", kMaxFile).find("</html>") != std::string::npos);
  CHECK(read_json(run + "/env.json").at("run_id") == summary_of(run).at("run_id"));
}

TEST_CASE("the log of a run holds every trajectory, every version and every update") {
  const std::string run = reference_run().folder;
  const LogContent log = read_log(run + "/queue/rank-0");
  CHECK(log.warnings.empty());
  CHECK(log.header.run_id == summary_of(run).at("run_id"));
  std::set<std::int64_t> slots;
  for (const auto& record : log.records) slots.insert(record.slot);
  CHECK(static_cast<std::int64_t>(log.records.size()) == kTrajectories);
  CHECK(static_cast<std::int64_t>(slots.size()) == kTrajectories);
  CHECK(actors_in(log) == std::set<std::string>{"actor-0", "actor-1"});
  CHECK(static_cast<std::int64_t>(log.trained.size()) == kUpdates);
  REQUIRE(static_cast<std::int64_t>(log.published.size()) == kUpdates + 1);
  CHECK(log.published.back().digest == weights_of(run));
}

TEST_CASE("the configuration in a run folder is read back as it is") {
  const std::string config = reference_run().folder + "/config.yaml";
  const Outcome printed = run_nabla({"config", "print", "--config", config});
  CHECK(printed.exit == 0);
  CHECK(printed.output == read_file(config, kMaxFile));
}
