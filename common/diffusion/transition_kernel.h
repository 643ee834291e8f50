#pragma once

#include "common/diffusion/tensors.h"

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <vector>

namespace nabla {

// scheduler_config.json with DDIMScheduler's class defaults for absent keys.
struct SchedulerConfig {
  std::int64_t num_train_timesteps = 1000;
  double beta_start = 0.0001, beta_end = 0.02;
  std::string beta_schedule = "linear";      // linear | scaled_linear
  std::string timestep_spacing = "leading";  // leading | trailing | linspace
  std::int64_t steps_offset = 0;
  bool set_alpha_to_one = true;
  bool clip_sample = true;
  double clip_sample_range = 1.0;
  std::string prediction_type = "epsilon";

  static SchedulerConfig from_json(const nlohmann::json& json, const std::string& source);
  nlohmann::ordered_json to_json() const;
  // alpha-bar of every training step in double [num_train_timesteps] (betas rounded to float32, as diffusers makes them).
  std::vector<double> alpha_bars() const;
};

// One transition x (at t) -> y (at t'): a = alpha_bar(t), b = alpha_bar(t').
// sigma = eta * sigma_ddpm, mean = x * sqrt(b/a) - k * eps, k = sqrt(b) sqrt(1-a)/sqrt(a) - sqrt(1-b-sigma^2), w = k / sigma^2.
struct Transition {
  std::int64_t timestep = 0, next_timestep = 0;
  double alpha_bar = 0.0, alpha_bar_next = 0.0;
  double x_coefficient = 0.0;      // sqrt(b/a)
  double noise_coefficient = 0.0;  // k
  double sigma = 0.0;
  std::optional<double> weight;  // w; none where sigma is 0
};

enum class Sampler { kDdim, kSdeDpmSolverPp };       // "ddim" (alias "ddpm", "DDPM", "DDIM") | "sde-dpm-solver++"
Sampler sampler_from_name(const std::string& name);  // usage_error on another name

// The table of one sampler: transition j goes from state j to state j+1; all coefficients in double. Never recomputed elsewhere.
struct StepTable {
  std::string id;  // names sampler, steps, eta and schedule; travels with every record
  std::vector<Transition> transitions;
  bool clip_sample = false;
  double clip_sample_range = 1.0;
};

// DDIM and DDPM follow diffusers' DDIMScheduler: t' = max(t - num_train_timesteps / num_steps, 0), at the end the final alpha-bar. The solver takes
// eta 1 alone. usage_error for a number of steps or an eta that gives no table.
StepTable make_step_table(const SchedulerConfig& config, Sampler sampler, std::int64_t num_steps, double eta);

// Mean of the transition (of the clipped clean prediction where the table clips) for x [N,C,h,w] and guided prediction eps [N,C,h,w]; the same
// transition for the whole batch.
Tensor transition_mean(const StepTable& table, const Transition& transition, const Tensor& x, const Tensor& eps);
// One-step clean prediction (x - sqrt(1-a) eps) / sqrt(a).
Tensor predict_clean(const Transition& transition, const Tensor& x, const Tensor& eps);

}  // namespace nabla
