#include "launch/truth/truth_case.h"

#include "common/diffusion/alpha_bar_grid.h"
#include "common/error.h"

#include <torch/types.h>

#include <cmath>

namespace nabla::truth {

namespace {

// Stable Diffusion 1.5 (docs/truth.md).
SchedulerConfig stable_diffusion_schedule() {
  SchedulerConfig config;
  config.beta_start = 0.00085;
  config.beta_end = 0.012;
  config.beta_schedule = "scaled_linear";
  config.steps_offset = 1;
  config.set_alpha_to_one = false;
  config.clip_sample = false;
  return config;
}

// log(a / (1-a)) evenly spaced: a from 1e-5, where the start law forgets everything, to 0.9991.
std::vector<double> log_snr_uniform(std::int64_t steps) {
  constexpr double kFirst = -11.6, kLast = 7.0;
  std::vector<double> alpha_bars;
  for (std::int64_t i = 0; i <= steps; ++i) {
    const double log_snr = kFirst + (kLast - kFirst) * static_cast<double>(i) / static_cast<double>(steps);
    alpha_bars.push_back(1.0 / (1.0 + std::exp(-log_snr)));
  }
  return alpha_bars;
}

}  // namespace

Mixture exact_law(const TruthCase& problem) {
  Mixture prior = problem.prior;
  if (problem.pretrained_strength != 1.0) {
    if (prior.weights.numel() != 1)
      throw failure("[truth] pretrained_strength {} and a prior of {} modes have no closed form", problem.pretrained_strength,
                    prior.weights.numel());
    prior.covariances = prior.covariances / problem.pretrained_strength;
  }
  return tilted(prior, problem.reward, problem.beta);
}

StepTable step_table_of(const TruthCase& problem) {
  if (problem.schedule == Schedule::kLogSnrUniform) return make_step_table(log_snr_uniform(problem.steps), 1.0);
  return make_step_table(stable_diffusion_schedule(), Sampler::kDdim, problem.steps, 1.0);
}

ObjectiveConfig objective_of(const TruthCase& problem) {
  ObjectiveConfig objective;
  objective.reward_scale = problem.beta;
  objective.reverse_loss_scale = problem.reverse ? 1.0 : 0.0;
  objective.unet_reg_scale = 0.0;
  objective.flow = problem.flow;
  objective.gamma = problem.gamma;
  objective.flow_from_forward_loss = problem.flow_from_forward_loss;
  objective.pretrained_strength = problem.pretrained_strength;
  objective.strength_mode = problem.strength_mode;
  return objective;
}

}  // namespace nabla::truth
