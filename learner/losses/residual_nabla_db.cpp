#include "learner/losses/residual_nabla_db.h"

#include "learner/losses/backward_kernel.h"
#include "learner/losses/reward_score.h"
#include "learner/losses/rows.h"

#include <torch/types.h>

namespace nabla {

namespace {

struct ForwardParts {
  Tensor residual, change, reward, flow;  // [R,C,h,w]; flow undefined with no_flow
};

// What eta s# changes beside s_theta - s#, in the sign of the residual: (1 - eta) times (y - mean#)/sigma^2, to which the exact form adds
// d log P_B / dy (docs/objectives.md).
Tensor strength_part(const TransitionBatch& batch, const ObjectiveConfig& config) {
  if (config.strength_mode == StrengthMode::kExact)
    return (1.0 - config.pretrained_strength) * backward_minus_forward_score(batch, batch.eps_reference);
  const Tensor mean = per_row(batch.kernel.x_coefficient) * batch.x - per_row(batch.kernel.noise_coefficient) * batch.eps_reference;
  return (1.0 - config.pretrained_strength) * (batch.y - mean) / per_row(batch.kernel.variance);
}

// L_forward: w (eps_theta - eps#) + s~(y), in epsilon form (1.6); s~(x_N) = beta d log R exactly, without gamma and flow (1.4).
ForwardParts forward_parts(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config) {
  const Tensor weight = per_row(batch.weight), terminal = per_row(batch.is_terminal);
  ForwardParts parts;
  parts.change = predictions.eps - batch.eps_reference;
  parts.reward = reward_score_y(batch, config);
  Tensor score = parts.reward;
  if (config.flow) {
    // Detached: phi learns from L_reverse and L_terminal alone, else the fixed point is biased (1.5).
    parts.flow = (config.flow_from_forward_loss ? predictions.flow_y : predictions.flow_y.detach()).masked_fill(terminal, 0.0);
    score = score + parts.flow;
  }
  if (config.pretrained_strength != 1.0) score = score + strength_part(batch, config);
  // Under uniform weights the change is not multiplied by w first: nothing is lost where w is large.
  parts.residual = config.time_weighting == TimeWeighting::kUniform
                       ? parts.change + score / weight
                       : weigh_in_time(batch, weight * parts.change + score, config.time_weighting);
  return parts;
}

// r_theta - eta r# (official target: made by the actor, no graph to theta, 1.5) or what it is in the mean over y.
Tensor reverse_difference(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config) {
  const double eta = config.pretrained_strength;
  const bool exact = config.strength_mode == StrengthMode::kExact;
  if (config.reverse_target == ReverseTarget::kRaoBlackwell) {
    // E[r_theta] = 0 and E[r#] = J_mu#^T (mu_theta - mu#)/sigma^2 (1.8).
    const Tensor difference = -eta * batch.reverse_rao_blackwell;
    return exact && eta != 1.0 ? difference - (1.0 - eta) * mean_backward_score_x(batch, batch.eps_behaviour) : difference;
  }
  const bool recomputed = config.reverse_target == ReverseTarget::kTrueGradient;
  const Tensor& policy = recomputed ? predictions.reverse_score : batch.reverse_score_policy;
  if (eta == 1.0) return policy - batch.reverse_score_reference;
  if (!exact) return eta * (policy - batch.reverse_score_reference);
  return policy - eta * batch.reverse_score_reference - (1.0 - eta) * backward_score_x(batch);
}

// L_reverse: r_theta - eta r# + s~(x).
Tensor reverse_residual(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config) {
  const Tensor residual = reverse_difference(batch, predictions, config) + reward_score_x(batch, config) + predictions.flow_x;
  if (!config.zero_terminal_reverse_target) return residual;
  // The release scales its policy's score by eta here too.
  const double strength = config.strength_mode == StrengthMode::kOfficial ? config.pretrained_strength : 1.0;
  return at::where(per_row(batch.is_terminal), strength * batch.reverse_score_policy, residual);
}

}  // namespace

LossOutput residual_nabla_db(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config) {
  const ForwardParts forward = forward_parts(batch, predictions, config);
  const Tensor loss_forward = sum_over_slots(batch, row_mean_square(forward.residual));
  const Tensor unetreg = sum_over_slots(batch, unet_regularizer(batch, predictions));

  LossOutput out;
  out.loss = loss_forward + config.unet_reg_scale * unetreg;
  out.residual_forward = forward.residual.detach();
  out.terms = {{"loss_forward", loss_forward.detach()},
               {"unetreg", unetreg.detach()},
               {"norm_score_policy", norm_over_slots(batch, per_row(batch.weight) * forward.change)},
               {"norm_score_reward", norm_over_slots(batch, forward.reward)}};
  if (config.flow) {
    const Tensor reverse = reverse_residual(batch, predictions, config);
    const Tensor loss_reverse = sum_over_slots(batch, row_mean_square(reverse));
    const Tensor loss_terminal = terminal_loss(batch, predictions.flow_y);
    out.loss = out.loss + config.reverse_loss_scale * loss_reverse + loss_terminal;
    out.residual_reverse = reverse.detach();
    out.terms["losses_backward"] = loss_reverse.detach();
    out.terms["loss_terminal"] = loss_terminal.detach();
    out.terms["norm_score_flow"] = norm_over_slots(batch, forward.flow);
  }
  out.terms["loss"] = out.loss.detach();
  return out;
}

}  // namespace nabla
