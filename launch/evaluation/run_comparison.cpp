#include "launch/evaluation/run_comparison.h"

#include "common/error.h"
#include "common/json_file.h"
#include "common/log.h"
#include "common/prompt_source.h"
#include "launch/evaluation/frechet.h"
#include "learner/picture_statistics.h"
#include "learner/transition_choice.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>

namespace nabla {

namespace {

using Json = nlohmann::ordered_json;

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
          {"eval.checker", config.eval.checker}};
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

// The head of a run's evaluation list.
std::vector<std::string> own_prompts(const RunConfig& config, std::int64_t count) {
  const RunPrompts prompts = open_prompts(config);
  std::vector<std::string> texts;
  for (std::int64_t i = 0; i < std::min(count, prompts.evaluation.size()); ++i) texts.push_back(prompts.evaluation.at(i).text);
  return texts;
}

// As many as the first run asks for; the others must agree on them.
std::vector<std::string> prompts_of(const std::vector<JudgedRun>& runs, const std::string& file) {
  if (!file.empty()) return prompt_lines(file);
  const JudgedRun& first = runs.front();
  const std::vector<std::string> prompts = own_prompts(first.config, first.config.eval.prompts);
  for (const auto& run : runs) {
    if (own_prompts(run.config, first.config.eval.prompts) == prompts) continue;
    throw usage_error("[eval] the first {} evaluation prompts of {} are others than those of {}; give one list for all of them: --prompts FILE",
                      prompts.size(), run.path, first.path);
  }
  return prompts;
}

std::vector<std::vector<float>> rows_of(const Tensor& features) {
  std::vector<std::vector<float>> rows;
  const float* const values = features.data_ptr<float>();
  for (std::int64_t row = 0; row < features.size(0); ++row)
    rows.emplace_back(values + row * features.size(1), values + (row + 1) * features.size(1));
  return rows;
}

std::vector<double> means_by_prompt(const std::vector<double>& values, std::int64_t noises) {
  std::vector<double> means;
  for (auto first = values.begin(); values.end() - first >= noises; first += noises) means.push_back(spread_of({first, first + noises}).mean);
  return means;
}

// In the order of settings.prompt_texts.
Json scores_by_prompt(const PictureEvaluation& evaluation, const PictureEvaluation& base, std::int64_t noises) {
  Json json{{"reward_mean", means_by_prompt(evaluation.rewards, noises)}};
  if (!evaluation.true_rewards.empty()) json["true_reward_mean"] = means_by_prompt(evaluation.true_rewards, noises);
  if (!evaluation.features.defined()) return json;
  json["diversity"] = diversity_by_prompt(rows_of(evaluation.features), noises);
  json["frechet_to_base"] = frechet_by_prompt(evaluation.features, base.features, noises);
  return json;
}

Json scores(const PictureEvaluation& evaluation, const PictureEvaluation& base, double drift, std::int64_t noises) {
  const Spread reward = spread_of(evaluation.rewards), base_reward = spread_of(base.rewards);
  const Json by_prompt = scores_by_prompt(evaluation, base, noises);
  Json json{{"reward_mean", reward.mean}, {"reward_std", reward.deviation}, {"reward_gain_sd", (reward.mean - base_reward.mean) / base_reward.deviation}};
  json["reward_std_within_prompt"] = deviation_within_prompts(evaluation.rewards, noises);
  if (!evaluation.true_rewards.empty()) {
    const Spread truth = spread_of(evaluation.true_rewards), base_truth = spread_of(base.true_rewards);
    json["true_reward_mean"] = truth.mean;
    json["true_reward_std"] = truth.deviation;
    json["true_gain_sd"] = (truth.mean - base_truth.mean) / base_truth.deviation;
  }
  if (evaluation.features.defined()) {
    for (const char* key : {"diversity", "frechet_to_base"}) json[key] = spread_of(by_prompt[key].get<std::vector<double>>()).mean;
    json["color_accuracy"] = spread_of(evaluation.color_correct).mean;
    json["shape_accuracy"] = spread_of(evaluation.shape_correct).mean;
    json["count_accuracy"] = spread_of(evaluation.count_correct).mean;
  }
  json["drift"] = drift;
  json["by_prompt"] = by_prompt;
  return json;
}

// What the version cost: as the run says of its last one, else by its plan, discarded slots included.
void add_cost(Json& json, const JudgedRun& run, std::int64_t version) {
  const std::string file = run.path + "/summary.json";
  const Json summary = std::filesystem::exists(file) ? read_json(file) : Json::object();
  if (version < 0 || summary.value("updates", std::int64_t{-1}) == version) {
    for (const char* key : {"trajectories", "unique_transitions", "wall_s"}) {
      if (summary.contains(key)) json[key] = summary[key];
    }
    return;
  }
  json["trajectories"] = version * run.config.slots_per_update();
  json["unique_transitions"] = version * run.config.slots_per_update() * rows_per_slot(transition_choice_of(run.config));
}

Json judge(const JudgedRun& run, const EvaluationTask& task, const PictureEvaluation& base) {
  log_info("{}: {}", run.label, run.path);
  Workbench bench = make_workbench(run.config);
  const std::int64_t version = install_judged_weights(bench, run);
  Json json{{"label", run.label}, {"run", run.path}, {"method", run.config.experiment.method}};
  if (version >= 0) json["version"] = version;
  json["weights_digest"] = bench.policy->digest();
  add_cost(json, run, version);
  json.update(scores(evaluate_pictures(bench, task), base, drift_of(bench, task), task.noises));
  return json;
}

Json settings_json(const RunConfig& config, const EvaluationTask& task) {
  Json json{{"prompts", task.prompts.size()}, {"noises", task.noises}, {"seed", task.seed}};
  for (const auto& [name, value] : comparable(config)) json[name] = value;
  json["prompt_texts"] = task.prompts;
  return json;
}

}  // namespace

Json compare_runs(const std::vector<JudgedRun>& runs, const ComparisonOptions& options) {
  check_comparable(runs);
  const EvaluationTask task{.prompts = prompts_of(runs, options.prompt_file), .noises = options.noises, .seed = 0, .batch = options.batch};
  log_info("base: {} prompts, {} pictures each", task.prompts.size(), task.noises);
  Workbench base_bench = make_workbench(runs.front().config);
  const PictureEvaluation base = evaluate_pictures(base_bench, task);
  Json comparison{{"settings", settings_json(runs.front().config, task)}, {"base", scores(base, base, 0.0, task.noises)}, {"runs", Json::array()}};
  for (const auto& run : runs) comparison["runs"].push_back(judge(run, task, base));
  return comparison;
}

}  // namespace nabla
