#include "learner/losses/ddpo.h"

#include "learner/losses/rows.h"

#include <torch/types.h>

namespace nabla {

LossOutput ddpo(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config) {
  const Tensor noise_coefficient = per_row(batch.kernel.noise_coefficient);
  // |y - m|^2 - |y - m - d|^2 = d (2 (y - m) - d), d the change of the mean: two large squares need not be subtracted.
  const Tensor deviation = batch.y - (per_row(batch.kernel.x_coefficient) * batch.x - noise_coefficient * batch.eps_behaviour);
  const Tensor change = noise_coefficient * (batch.eps_behaviour - predictions.eps);
  const Tensor ratio = ((change * (2.0 * deviation - change)).mean({1, 2, 3}) / (2.0 * batch.kernel.variance)).exp();
  const Tensor clipped = ratio.clamp(1.0 - config.ddpo_clip_range, 1.0 + config.ddpo_clip_range);
  const Tensor loss_policy = sum_over_slots(batch, at::maximum(-batch.advantage * ratio, -batch.advantage * clipped));
  const Tensor unetreg = sum_over_slots(batch, unet_regularizer(batch, predictions));
  LossOutput out;
  out.loss = loss_policy + config.unet_reg_scale * unetreg;
  const Tensor outside = (ratio - 1.0).abs() > config.ddpo_clip_range;
  out.terms = {{"loss", out.loss.detach()},
               {"loss_policy", loss_policy.detach()},
               {"unetreg", unetreg.detach()},
               {"ratio_mean", sum_over_slots(batch, ratio.detach())},
               {"ratio_clipped", sum_over_slots(batch, outside.to(ratio.scalar_type()))}};
  return out;
}

}  // namespace nabla
