#include "learner/losses/plain_nabla_db.h"

#include "learner/losses/backward_kernel.h"
#include "learner/losses/rows.h"

#include <torch/types.h>

namespace nabla {

namespace {

Tensor reverse_difference(const TransitionBatch& batch, const Predictions& predictions, ReverseTarget target) {
  // In the mean over y ~ P_theta r_theta vanishes.
  if (target == ReverseTarget::kRaoBlackwell) return -mean_backward_score_x(batch, batch.eps_behaviour);
  const Tensor& policy = target == ReverseTarget::kTrueGradient ? predictions.reverse_score : batch.reverse_score_policy;
  return policy - backward_score_x(batch);
}

}  // namespace

LossOutput plain_nabla_db(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config) {
  const Tensor terminal = per_row(batch.is_terminal);
  const Tensor reward = config.reward_scale * batch.reward_grad_y;
  const Tensor flow_y = config.flow_from_forward_loss ? predictions.flow_y : predictions.flow_y.detach();
  const Tensor score = at::where(terminal, reward, flow_y);
  const Tensor forward = weigh_in_time(batch, backward_minus_forward_score(batch, predictions.eps) + score, config.time_weighting);
  Tensor reverse = reverse_difference(batch, predictions, config.reverse_target) + predictions.flow_x;
  if (config.zero_terminal_reverse_target) reverse = at::where(terminal, batch.reverse_score_policy, reverse);

  const Tensor loss_forward = sum_over_slots(batch, row_mean_square(forward));
  const Tensor loss_reverse = sum_over_slots(batch, row_mean_square(reverse));
  const Tensor loss_terminal = terminal_loss(batch, predictions.flow_y - reward);
  const Tensor unetreg = sum_over_slots(batch, unet_regularizer(batch, predictions));
  LossOutput out;
  out.loss = loss_forward + config.reverse_loss_scale * loss_reverse + loss_terminal + config.unet_reg_scale * unetreg;
  out.residual_forward = forward.detach();
  out.residual_reverse = reverse.detach();
  out.terms = {{"loss", out.loss.detach()},
               {"loss_forward", loss_forward.detach()},
               {"losses_backward", loss_reverse.detach()},
               {"loss_terminal", loss_terminal.detach()},
               {"unetreg", unetreg.detach()},
               {"norm_score_reward", norm_over_slots(batch, reward.masked_fill(terminal.logical_not(), 0.0))},
               {"norm_score_flow", norm_over_slots(batch, flow_y)}};
  return out;
}

}  // namespace nabla
