#include "learner/losses/refl.h"

#include "learner/losses/rows.h"

#include <torch/types.h>

namespace nabla {

LossOutput refl(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config) {
  // x-hat_theta - x-hat_behaviour = -sqrt((1 - a)/a) (eps_theta - eps_behaviour).
  const Tensor change = per_row((batch.kernel.noise / batch.alpha_bar).sqrt()) * (batch.eps_behaviour - predictions.eps);
  const Tensor loss_reward = -config.reward_scale * row_sum(batch.reward_grad_x0 * change).sum();
  const Tensor unetreg = unet_regularizer(batch, predictions).sum();
  LossOutput out;
  out.loss = loss_reward + config.unet_reg_scale * unetreg;
  out.terms = {{"loss", out.loss.detach()}, {"loss_reward", loss_reward.detach()}, {"unetreg", unetreg.detach()}};
  return out;
}

}  // namespace nabla
