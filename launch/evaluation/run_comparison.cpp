#include "launch/evaluation/run_comparison.h"

#include "common/error.h"
#include "common/json_file.h"
#include "common/log.h"
#include "common/prompt_source.h"
#include "launch/evaluation/frechet.h"
#include "launch/evaluation/picture_statistics.h"
#include "launch/yaml_config.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <filesystem>

namespace nabla {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kExport = "/export/pytorch_lora_weights.safetensors";

// What decides the base's pictures and how they are judged, as name and value.
std::vector<std::pair<std::string, std::string>> comparable(const RunConfig& config) {
  return {{"pretrained.model", config.pretrained.model},
          {"sampling.num_steps", fmt::format("{}", config.sampling.num_steps)},
          {"sampling.eta", fmt::format("{}", config.sampling.eta)},
          {"sampling.guidance_scale", fmt::format("{}", config.sampling.guidance_scale)},
          {"sampling.scheduler", config.sampling.scheduler},
          {"experiment.reward_fn", config.experiment.reward_fn},
          {"experiment.reward_model", config.experiment.reward_model},
          {"eval.true_reward", config.eval.true_reward},
          {"eval.checker", config.eval.checker},
          {"eval.prompts", fmt::format("{}", config.eval.prompts)},
          {"eval.prompt_file", config.eval.prompt_file}};
}

void check_comparable(const std::vector<JudgedRun>& runs) {
  const auto expected = comparable(runs.front().config);
  for (const auto& run : runs) {
    const auto settings = comparable(run.config);
    for (std::size_t i = 0; i < settings.size(); ++i) {
      if (settings[i].second == expected[i].second) continue;
      throw usage_error("[eval] {} has {} = '{}', but {} has '{}': their figures could not be compared; give {}=<value> for all of them", run.path,
                        settings[i].first, settings[i].second, runs.front().path, expected[i].second, settings[i].first);
    }
  }
}

std::vector<std::string> prompts_of(const RunConfig& config, const std::string& file) {
  if (!file.empty()) return prompt_lines(file);
  const RunPrompts prompts = open_prompts(config);
  std::vector<std::string> texts;
  for (std::int64_t i = 0; i < config.eval.prompts; ++i) texts.push_back(prompts.evaluation.at(i).text);
  return texts;
}

// The exported file has alpha / rank folded into B; the policy applies its own scale.
void install_export(Policy& policy, const std::string& file) {
  TensorMap lora = read_lora_file(file, policy.unet());
  for (auto& [name, tensor] : lora) {
    if (name.ends_with(".lora_B.weight")) tensor = tensor / policy.lora().scale();
  }
  policy.load(lora);
}

Json scores(const PictureEvaluation& evaluation, const PictureEvaluation& base, std::int64_t noises) {
  const Spread reward = spread_of(evaluation.rewards), base_reward = spread_of(base.rewards);
  Json json{{"reward_mean", reward.mean}, {"reward_std", reward.deviation}, {"reward_gain_sd", (reward.mean - base_reward.mean) / base_reward.deviation}};
  json["reward_std_within_prompt"] = deviation_within_prompts(evaluation.rewards, noises);
  if (!evaluation.true_rewards.empty()) {
    const Spread truth = spread_of(evaluation.true_rewards), base_truth = spread_of(base.true_rewards);
    json["true_reward_mean"] = truth.mean;
    json["true_reward_std"] = truth.deviation;
    json["true_gain_sd"] = (truth.mean - base_truth.mean) / base_truth.deviation;
  }
  if (evaluation.features.defined()) {
    json["diversity"] = prompt_diversity(evaluation.features, noises);
    json["frechet_to_base"] = frechet_per_prompt(evaluation.features, base.features, noises);
    json["color_accuracy"] = spread_of(evaluation.color_correct).mean;
    json["shape_accuracy"] = spread_of(evaluation.shape_correct).mean;
    json["count_accuracy"] = spread_of(evaluation.count_correct).mean;
  }
  json["drift"] = evaluation.drift;
  return json;
}

// What the run says of itself; a run without a summary is still judged.
void add_run_facts(Json& json, const std::string& path) {
  if (!std::filesystem::exists(path + "/summary.json")) return;
  const Json summary = read_json(path + "/summary.json");
  for (const char* key : {"updates", "trajectories", "unique_transitions", "wall_s", "weights_digest"}) {
    if (summary.contains(key)) json[key] = summary[key];
  }
}

Json settings_json(const RunConfig& config, const EvaluationTask& task) {
  Json json{{"prompts", task.prompts.size()}, {"noises", task.noises}};
  for (const auto& [name, value] : comparable(config)) json[name] = value;
  return json;
}

}  // namespace

JudgedRun open_judged_run(const std::string& label, const std::string& path, const std::vector<std::string>& overrides) {
  for (const std::string& file : {path + "/config.yaml", path + kExport}) {
    if (std::filesystem::is_regular_file(file)) continue;
    throw data_error("[eval] there is no '{}'; name the folder of a run that has exported its weights (a run does when it ends or is stopped)", file);
  }
  JudgedRun run{.label = label, .path = path, .config = load_config({.files = {path + "/config.yaml"}, .assignments = overrides})};
  validate(run.config);
  return run;
}

Json compare_runs(const std::vector<JudgedRun>& runs, const ComparisonOptions& options) {
  check_comparable(runs);
  const EvaluationTask task{.prompts = prompts_of(runs.front().config, options.prompt_file), .noises = options.noises, .seed = 0, .batch = options.batch};
  log_info("base: {} prompts, {} pictures each", task.prompts.size(), task.noises);
  Workbench base_bench = make_workbench(runs.front().config);
  const PictureEvaluation base = evaluate_pictures(base_bench, task);
  Json comparison{{"settings", settings_json(runs.front().config, task)}, {"base", scores(base, base, task.noises)}, {"runs", Json::array()}};
  for (const auto& run : runs) {
    log_info("{}: {}", run.label, run.path);
    Workbench bench = make_workbench(run.config);
    install_export(*bench.policy, run.path + kExport);
    Json json{{"label", run.label}, {"run", run.path}, {"method", run.config.experiment.method}};
    add_run_facts(json, run.path);
    json.update(scores(evaluate_pictures(bench, task), base, task.noises));
    comparison["runs"].push_back(std::move(json));
  }
  return comparison;
}

}  // namespace nabla
