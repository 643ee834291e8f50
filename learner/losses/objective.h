#pragma once

#include "common/diffusion/tensors.h"

#include <map>
#include <string>

namespace nabla {

// Letters: R rows (transitions) of one micro-batch, C,h,w latent.

// Transitions of whole slots as tensors; rows of one slot are neighbours, its terminal row last.
struct TransitionBatch {
  Tensor x, y;                       // [R,C,h,w]
  Tensor timestep, next_timestep;    // [R] int64
  Tensor is_terminal;                // [R] bool
  Tensor weight;                     // [R] w = k/sigma^2 of the transition, float64 made, cast to the batch's dtype
  Tensor alpha_bar, alpha_bar_next;  // [R] float64 made, cast: gamma at x and y
  Tensor eps_behaviour, eps_reference;
  Tensor reward_grad_y, reward_grad_x;  // raw: d log R / d y, d log R / d x
  Tensor reverse_score_reference, reverse_score_policy;
  Tensor slot_weight;  // [R] 1/K of the row's slot
  std::int64_t num_slots = 0;
};

enum class RewardGamma { kSquared, kLinear, kOne };  // gamma_t = alpha_bar, sqrt(alpha_bar), 1 (reward_adaptive_mode)
enum class TimeWeighting { kW2, kUniform };

struct ObjectiveConfig {
  double reward_scale = 1e3;        // beta
  double reverse_loss_scale = 1.0;  // w_B
  double unet_reg_scale = 1e3;      // lambda
  bool flow = true;                 // false: no_flow
  RewardGamma gamma = RewardGamma::kSquared;
  // True for gradient kinds policy_fl and reference_fl; the others take gamma 1 everywhere.
  bool gradient_uses_gamma = true;
  TimeWeighting time_weighting = TimeWeighting::kW2;
  bool flow_from_forward_loss = false;  // compat: g(y) not detached in the forward loss
};

// Predictions of the current networks with their graphs; flow outputs undefined with no_flow.
struct Predictions {
  Tensor eps;     // guided eps_theta at x [R,C,h,w]
  Tensor flow_x;  // g_phi(x, t) [R,C,h,w]
  Tensor flow_y;  // g_phi(y, t') [R,C,h,w]; terminal rows are g_phi(x_N, t' = 0)
};

struct LossOutput {
  Tensor loss;                                // scalar with graph: sum over slots of the slot's contribution (not divided by slots)
  Tensor residual_forward, residual_reverse;  // [R,C,h,w], detached
  // Sums over the micro-batch ready to be divided by slots, detached: loss_forward, losses_backward, loss_terminal, unetreg, norm_score_*.
  std::map<std::string, Tensor> terms;
};

// Residual nabla-DB in epsilon form (algorithm.md 1.3-1.6). A slot contributes
//   1/K * ( sum over its rows of [ L_forward + w_B L_reverse + lambda reg ] + g_phi(x_N, 0)^2 ), element means.
LossOutput residual_nabla_db(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config);

}  // namespace nabla
