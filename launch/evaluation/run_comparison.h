#pragma once

#include "launch/evaluation/judged_run.h"
#include "launch/evaluation/picture_evaluation.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace nabla {

struct ComparisonOptions {
  std::string prompt_file;   // empty: the first run's own evaluation prompts (eval.prompts of them), which the others must share
  std::int64_t noises = 16;  // pictures a prompt
  std::int64_t batch = 32;
};

// Judges the base model and then each run's weights on the same prompts and noise: "settings", "base" and "runs" with reward, true reward, diversity,
// prompt accuracy, Frechet distance to the base, the same prompt by prompt, drift, version and unique trajectories. usage_error where runs differ in
// what decides the pictures of the base or how they are judged: such figures could not be compared.
nlohmann::ordered_json compare_runs(const std::vector<JudgedRun>& runs, const ComparisonOptions& options);

// Gain of the reward and of the true reward against diversity, and of the reward against the distance to the base, with the front of each: an SVG
// file's text.
std::string pareto_plot(const nlohmann::ordered_json& comparison);

// The comparison for people.
std::string comparison_table(const nlohmann::ordered_json& comparison);

}  // namespace nabla
