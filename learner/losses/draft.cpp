#include "learner/losses/draft.h"

#include "learner/losses/rows.h"

#include <torch/types.h>

namespace nabla {

namespace {

LossOutput output_of(const Tensor& loss_reward, const TransitionBatch& batch, const Predictions& predictions,
                     const ObjectiveConfig& config) {
  const Tensor unetreg = (batch.is_terminal * unet_regularizer(batch, predictions)).sum();
  LossOutput out;
  out.loss = loss_reward + config.unet_reg_scale * unetreg;
  out.terms = {{"loss", out.loss.detach()}, {"loss_reward", loss_reward.detach()}, {"unetreg", unetreg.detach()}};
  return out;
}

}  // namespace

LossOutput draft_1(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config) {
  const Tensor change = per_row(batch.kernel.noise_coefficient) * (batch.eps_behaviour - predictions.eps);
  const Tensor loss_reward = -config.reward_scale * (batch.is_terminal * row_sum(batch.reward_grad_y * change)).sum();
  return output_of(loss_reward, batch, predictions, config);
}

LossOutput draft_lv(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config) {
  const auto of_slot = [&](const Tensor& rows) { return rows.index_select(0, batch.renoised_row); };
  const Tensor mean = per_row(of_slot(batch.kernel.x_coefficient)) * batch.renoised_x -
                      per_row(of_slot(batch.kernel.noise_coefficient)) * predictions.eps_renoised;
  const double samples = static_cast<double>(batch.renoised_x.size(0)) / static_cast<double>(batch.num_slots);
  const Tensor loss_reward = -config.reward_scale / samples * row_sum(batch.renoised_reward_grad * (mean - of_slot(batch.y))).sum();
  return output_of(loss_reward, batch, predictions, config);
}

}  // namespace nabla
