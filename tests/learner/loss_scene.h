#pragma once

#include "common/diffusion/transition_kernel.h"
#include "learner/losses/residual_nabla_db.h"
#include "tests/testing.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cmath>
#include <vector>

namespace nabla::testing {

// Two slots of three and two rows, the last of each terminal, on Stable Diffusion's schedule. Networks are small functions of all elements of a
// row, so that Jacobians are not diagonal. Everything is float64.
struct LossScene {
  static constexpr std::int64_t kRows = 5, kElements = 6;

  LossScene() {
    SchedulerConfig schedule{.beta_start = 0.00085, .beta_end = 0.012, .beta_schedule = "scaled_linear", .steps_offset = 1};
    schedule.set_alpha_to_one = schedule.clip_sample = false;
    const StepTable table = make_step_table(schedule, Sampler::kDdim, 50, 1.0);
    for (const std::size_t step : {3, 20, 49, 30, 49}) rows.push_back(table.transitions[step]);
    set_transitions(batch, rows, at::kDouble);
    batch.x = draw();
    // Within a few deviations of where the transition goes, as a sampler leaves it.
    batch.y = batch.x * batch.kernel.x_coefficient.view({-1, 1, 1, 1}) + 0.3 * draw();
    batch.is_terminal = torch::tensor({0, 0, 1, 0, 1}, at::kLong).to(at::kBool);
    batch.slot_weight = torch::tensor({1.0 / 3, 1.0 / 3, 1.0 / 3, 0.5, 0.5}, at::kDouble);
    batch.num_slots = 2;
    batch.eps_reference = network(batch.x, reference).detach();
    batch.eps_behaviour = batch.eps_reference + 0.1 * draw();
    batch.reward_grad_x = draw();
    batch.reward_grad_y = draw();
    batch.reverse_score_reference = draw();
    batch.reverse_score_policy = draw();
    batch.reverse_rao_blackwell = draw();
    batch.reward_grad_x0 = draw();
    batch.advantage = torch::tensor({0.7, 0.7, 0.7, -1.1, -1.1}, at::kDouble);
    batch.renoised_row = torch::tensor({2, 2, 4, 4}, at::kLong);
    batch.renoised_x = draw().narrow(0, 0, 4);
    batch.renoised_reward_grad = draw().narrow(0, 0, 4);
  }

  // [R,2,1,3], another draw each time.
  Tensor draw() { return normal_tensor({kRows, 2, 1, 3}, Philox(5, RandomPurpose::kEvaluationNoise, ++draws)).to(at::kDouble); }
  Tensor weights() {
    return 0.5 * normal_tensor({kElements, kElements}, Philox(5, RandomPurpose::kInitialization, ++draws)).to(at::kDouble);
  }
  // [R,2,1,3] -> [R,2,1,3]
  static Tensor network(const Tensor& x, const Tensor& matrix) {
    return (x.reshape({x.size(0), kElements}).matmul(matrix).tanh() + 0.5 * x.reshape({x.size(0), kElements})).view_as(x);
  }

  Predictions predict(const ObjectiveConfig& config) const {
    Predictions predictions;
    predictions.eps = network(batch.x, policy);
    predictions.eps_renoised = network(batch.renoised_x, policy);
    if (config.flow) {
      predictions.flow_x = network(batch.x, flow);
      predictions.flow_y = network(batch.y, flow);
    }
    if (config.reverse_target == ReverseTarget::kTrueGradient) predictions.reverse_score = reverse_score();
    return predictions;
  }

  // d log N(y; mu_theta(x), sigma^2) / dx with its graph to theta.
  Tensor reverse_score() const {
    const Tensor x = batch.x.detach().clone().requires_grad_(true);
    const auto of_rows = [](const Tensor& column) { return column.view({-1, 1, 1, 1}); };
    const Tensor mean = of_rows(batch.kernel.x_coefficient) * x - of_rows(batch.kernel.noise_coefficient) * network(x, policy);
    const Tensor density = ((batch.y - mean).square() / of_rows(-2.0 * batch.kernel.variance)).sum();
    return torch::autograd::grad({density}, {x}, {}, true, true)[0];
  }

  std::uint64_t draws = 0;
  std::vector<Transition> rows;
  TransitionBatch batch;
  Tensor reference = weights();
  Tensor policy = weights().requires_grad_(true), flow = weights().requires_grad_(true);
};

// Every combination of the settings that change the loss.
inline std::vector<ObjectiveConfig> all_objectives() {
  std::vector<ObjectiveConfig> all;
  ObjectiveConfig config{.reward_scale = 2.5, .reverse_loss_scale = 1.3, .unet_reg_scale = 0.7};
  for (const auto gamma : {RewardGamma::kSquared, RewardGamma::kLinear, RewardGamma::kOne}) {
    for (const auto weighting : {TimeWeighting::kW2, TimeWeighting::kUniform, TimeWeighting::kSigma}) {
      for (const bool uses_gamma : {true, false}) {
        for (const bool flow : {true, false}) {
          for (const bool from_forward : {false, true}) {
            if (from_forward && !flow) continue;
            config.gamma = gamma;
            config.time_weighting = weighting;
            config.gradient_uses_gamma = uses_gamma;
            config.flow = flow;
            config.flow_from_forward_loss = from_forward;
            all.push_back(config);
          }
        }
      }
    }
  }
  for (const auto target : {ReverseTarget::kOfficial, ReverseTarget::kTrueGradient}) {
    for (const auto mode : {StrengthMode::kExact, StrengthMode::kOfficial}) {
      for (const double strength : {0.25, 1.0}) {
        for (const auto weighting : {TimeWeighting::kW2, TimeWeighting::kUniform, TimeWeighting::kSigma}) {
          config = {.reward_scale = 2.5, .reverse_loss_scale = 1.3, .unet_reg_scale = 0.7};
          config.time_weighting = weighting;
          config.reverse_target = target;
          config.strength_mode = mode;
          config.pretrained_strength = strength;
          all.push_back(config);
        }
      }
    }
  }
  config = {.reward_scale = 2.5, .reverse_loss_scale = 1.3, .unet_reg_scale = 0.7};
  config.terminal_gamma = config.zero_terminal_reverse_target = true;
  all.push_back(config);
  return all;
}

inline double relative_difference(const Tensor& a, const Tensor& b) { return ((a - b).norm() / b.norm().clamp_min(1e-30)).item<double>(); }

}  // namespace nabla::testing
