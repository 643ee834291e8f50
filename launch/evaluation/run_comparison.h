#pragma once

#include "common/config/run_config.h"
#include "launch/evaluation/picture_evaluation.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace nabla {

// The weights of one finished run, to be judged. Runs of one label form one series of the plot.
struct JudgedRun {
  std::string label, path;
  RunConfig config;  // the run's own, with the overrides of the command line
};

// RUN or LABEL=RUN -> the run with its configuration. data_error where there is no run folder with an exported LoRA.
JudgedRun open_judged_run(const std::string& label, const std::string& path, const std::vector<std::string>& overrides);

struct ComparisonOptions {
  std::string prompt_file;   // empty: the runs' own evaluation prompts (eval.prompts of them)
  std::int64_t noises = 16;  // pictures a prompt
  std::int64_t batch = 32;
};

// Judges the base model and then each run's exported weights on the same prompts and noise: "settings", "base" and "runs" with reward, true reward,
// diversity, prompt accuracy, Frechet distance to the base a prompt, drift, and unique trajectories. usage_error where runs differ in what decides the pictures
// of the base or how they are judged: such figures could not be compared.
nlohmann::ordered_json compare_runs(const std::vector<JudgedRun>& runs, const ComparisonOptions& options);

// Reward against diversity, the base marked: an SVG file's text.
std::string pareto_plot(const nlohmann::ordered_json& comparison);

// The comparison for people.
std::string comparison_table(const nlohmann::ordered_json& comparison);

}  // namespace nabla
