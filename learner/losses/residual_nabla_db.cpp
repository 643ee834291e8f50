#include "learner/losses/objective.h"

#include <torch/types.h>

namespace nabla {

namespace {

// A value of each row, [R] -> [R,1,1,1].
Tensor per_row(const Tensor& values) { return values.view({-1, 1, 1, 1}); }

Tensor row_mean_square(const Tensor& field) { return field.square().mean({1, 2, 3}); }

// gamma(alpha_bar) [R,1,1,1]; 1 for gradient kinds that carry their own weight.
Tensor gamma_of(const Tensor& alpha_bar, const ObjectiveConfig& config) {
  if (!config.gradient_uses_gamma || config.gamma == RewardGamma::kOne) return per_row(at::ones_like(alpha_bar));
  return per_row(config.gamma == RewardGamma::kLinear ? alpha_bar.sqrt() : alpha_bar);
}

struct ForwardParts {
  Tensor residual, change, reward, flow;  // [R,C,h,w]; flow undefined with no_flow
};

// L_forward: w (eps_theta - eps#) + s~(y), in epsilon form (1.6); s~(x_N) = beta d log R exactly, without gamma and flow (1.4).
ForwardParts forward_parts(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config) {
  const Tensor weight = per_row(batch.weight), terminal = per_row(batch.is_terminal);
  const Tensor gamma = gamma_of(batch.alpha_bar_next, config).masked_fill(terminal, 1.0);
  ForwardParts parts;
  parts.change = predictions.eps - batch.eps_reference;
  parts.reward = config.reward_scale * gamma * batch.reward_grad_y;
  Tensor score = parts.reward;
  if (config.flow) {
    // Detached: phi learns from L_reverse and L_terminal alone, else the fixed point is biased (1.5).
    parts.flow = (config.flow_from_forward_loss ? predictions.flow_y : predictions.flow_y.detach()).masked_fill(terminal, 0.0);
    score = score + parts.flow;
  }
  parts.residual = config.time_weighting == TimeWeighting::kW2 ? weight * parts.change + score : parts.change + score / weight;
  return parts;
}

// L_reverse: r_theta - r# + s~(x). r_theta was made by the actor and has no graph to theta (1.5).
Tensor reverse_residual(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config) {
  const Tensor reward = config.reward_scale * gamma_of(batch.alpha_bar, config) * batch.reward_grad_x;
  return batch.reverse_score_policy - batch.reverse_score_reference + reward + predictions.flow_x;
}

}  // namespace

LossOutput residual_nabla_db(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config) {
  const auto sum_over_slots = [&](const Tensor& rows) { return (batch.slot_weight * rows).sum(); };
  const auto norm = [&](const Tensor& field) { return sum_over_slots(row_mean_square(field.detach()).sqrt()); };
  const ForwardParts forward = forward_parts(batch, predictions, config);
  const Tensor loss_forward = sum_over_slots(row_mean_square(forward.residual));
  const Tensor unetreg = sum_over_slots(row_mean_square(predictions.eps - batch.eps_behaviour));

  LossOutput out;
  out.loss = loss_forward + config.unet_reg_scale * unetreg;
  out.residual_forward = forward.residual.detach();
  out.terms = {{"loss_forward", loss_forward.detach()},
               {"unetreg", unetreg.detach()},
               {"norm_score_policy", norm(per_row(batch.weight) * forward.change)},
               {"norm_score_reward", norm(forward.reward)}};
  if (config.flow) {
    const Tensor reverse = reverse_residual(batch, predictions, config);
    const Tensor loss_reverse = sum_over_slots(row_mean_square(reverse));
    const Tensor loss_terminal = sum_over_slots(row_mean_square(predictions.flow_y) * batch.is_terminal);
    out.loss = out.loss + config.reverse_loss_scale * loss_reverse + loss_terminal;
    out.residual_reverse = reverse.detach();
    out.terms["losses_backward"] = loss_reverse.detach();
    out.terms["loss_terminal"] = loss_terminal.detach();
    out.terms["norm_score_flow"] = norm(forward.flow);
  }
  out.terms["loss"] = out.loss.detach();
  return out;
}

}  // namespace nabla
