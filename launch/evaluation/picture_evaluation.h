#pragma once

#include "actors/workbench.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

// What is sampled: every prompt with the same noises, whichever weights are judged.
struct EvaluationTask {
  std::vector<std::string> prompts;
  std::int64_t noises = 16;  // pictures a prompt
  std::uint64_t seed = 0;    // picture i takes the noise (seed, i), as in a run's own evaluations
  std::int64_t batch = 32;   // pictures sampled at once
};

// Pictures of one prompt are neighbours.
struct PictureEvaluation {
  std::vector<double> rewards, true_rewards;  // a value a picture; true_rewards empty where the task has none
  std::vector<double> shape_correct, color_correct, count_correct;  // 0 or 1; empty without a checker
  Tensor features;                            // [N,F] of the checker; undefined without one
};

// Samples and judges with the weights that are installed in the bench: an actor's evaluation job, batch by batch.
PictureEvaluation evaluate_pictures(Workbench& bench, const EvaluationTask& task);

// RMS(eps_theta - eps_base) / RMS(eps_base) along the trajectories of one picture a prompt, every fourth step.
double drift_of(Workbench& bench, const EvaluationTask& task);

}  // namespace nabla
