#include "launch/evaluation/run_comparison.h"

#include "common/error.h"
#include "common/json_file.h"
#include "common/log.h"
#include "common/prompt_source.h"
#include "launch/evaluation/frechet.h"
#include "launch/evaluation/picture_statistics.h"
#include "learner/transition_choice.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

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

std::vector<double> of_prompt(const std::vector<double>& values, std::int64_t prompt, std::int64_t noises) {
  const auto first = values.begin() + static_cast<std::ptrdiff_t>(prompt * noises);
  return {first, first + static_cast<std::ptrdiff_t>(noises)};
}

// In the order of settings.prompt_texts.
Json scores_by_prompt(const PictureEvaluation& evaluation, const PictureEvaluation& base, std::int64_t noises) {
  Json json;
  for (std::int64_t prompt = 0; prompt < std::ssize(evaluation.rewards) / noises; ++prompt) {
    json["reward_mean"].push_back(spread_of(of_prompt(evaluation.rewards, prompt, noises)).mean);
    if (!evaluation.true_rewards.empty()) json["true_reward_mean"].push_back(spread_of(of_prompt(evaluation.true_rewards, prompt, noises)).mean);
    if (!evaluation.features.defined()) continue;
    const Tensor own = evaluation.features.narrow(0, prompt * noises, noises);
    json["diversity"].push_back(prompt_diversity(own, noises));
    json["frechet_to_base"].push_back(frechet_distance(own, base.features.narrow(0, prompt * noises, noises)));
  }
  return json;
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
  json["by_prompt"] = scores_by_prompt(evaluation, base, noises);
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
  json.update(scores(evaluate_pictures(bench, task), base, task.noises));
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
  const EvaluationTask task{.prompts = prompts_of(runs.front().config, options.prompt_file), .noises = options.noises, .seed = 0, .batch = options.batch};
  log_info("base: {} prompts, {} pictures each", task.prompts.size(), task.noises);
  Workbench base_bench = make_workbench(runs.front().config);
  const PictureEvaluation base = evaluate_pictures(base_bench, task);
  Json comparison{{"settings", settings_json(runs.front().config, task)}, {"base", scores(base, base, task.noises)}, {"runs", Json::array()}};
  for (const auto& run : runs) comparison["runs"].push_back(judge(run, task, base));
  return comparison;
}

}  // namespace nabla
