#include "learner/losses/adjoint_matching.h"

#include "learner/losses/rows.h"

#include <torch/types.h>

namespace nabla {

LossOutput adjoint_matching(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config) {
  const Tensor control = per_row(batch.weight) * (predictions.eps - batch.eps_reference);
  const Tensor adjoint = config.reward_scale * batch.reward_grad_y;
  const Tensor residual = weigh_in_time(batch, control + adjoint, config.time_weighting);
  const Tensor loss_forward = sum_over_slots(batch, row_mean_square(residual));
  const Tensor unetreg = sum_over_slots(batch, unet_regularizer(batch, predictions));
  LossOutput out;
  out.loss = loss_forward + config.unet_reg_scale * unetreg;
  out.residual_forward = residual.detach();
  out.terms = {{"loss", out.loss.detach()},
               {"loss_forward", loss_forward.detach()},
               {"unetreg", unetreg.detach()},
               {"norm_score_policy", norm_over_slots(batch, control)},
               {"norm_score_reward", norm_over_slots(batch, adjoint)}};
  return out;
}

}  // namespace nabla
