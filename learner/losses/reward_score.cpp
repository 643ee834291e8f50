#include "learner/losses/reward_score.h"

#include "learner/losses/rows.h"

#include <torch/types.h>

namespace nabla {

namespace {

// gamma(alpha_bar) [R,1,1,1]; 1 for gradient kinds that carry their own weight.
Tensor gamma_of(const Tensor& alpha_bar, const ObjectiveConfig& config) {
  if (!config.gradient_uses_gamma || config.gamma == RewardGamma::kOne) return per_row(at::ones_like(alpha_bar));
  return per_row(config.gamma == RewardGamma::kLinear ? alpha_bar.sqrt() : alpha_bar);
}

}  // namespace

Tensor reward_score_y(const TransitionBatch& batch, const ObjectiveConfig& config) {
  Tensor gamma = gamma_of(batch.alpha_bar_next, config);
  if (!config.terminal_gamma) gamma = gamma.masked_fill(per_row(batch.is_terminal), 1.0);
  return config.reward_scale * gamma * batch.reward_grad_y;
}

Tensor reward_score_x(const TransitionBatch& batch, const ObjectiveConfig& config) {
  return config.reward_scale * gamma_of(batch.alpha_bar, config) * batch.reward_grad_x;
}

}  // namespace nabla
