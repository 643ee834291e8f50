#include "launch/truth/transition_rows.h"

#include <torch/types.h>

#include <cmath>

namespace nabla::truth {

namespace {

// Each state under every point of noise: [n,...] -> [Qn,...].
Tensor under_noise(const Tensor& states, std::int64_t num_points) {
  return at::cat(std::vector<Tensor>(static_cast<std::size_t>(num_points), states));
}

}  // namespace

// Golub and Welsch 1969: the points are the eigenvalues of the recurrence's matrix, the weights the squared first components of its vectors.
NoisePoints gauss_hermite(std::int64_t order, std::int64_t dimensions) {
  const Tensor off = at::arange(1, order, at::kDouble).sqrt();
  const auto [points, vectors] = at::linalg_eigh(at::diag(off, 1) + at::diag(off, -1));
  const Tensor weights = vectors.select(0, 0).square();
  if (dimensions == 1) return {points.unsqueeze(1), weights};
  const Tensor first = points.repeat_interleave(order), second = points.repeat({order});
  return {at::stack({first, second}, 1), at::outer(weights, weights).flatten()};
}

NoisePoints even_points(double spacing) {
  constexpr double kReach = 6.0;
  const auto half = static_cast<std::int64_t>(std::ceil(kReach / spacing));
  const Tensor points = at::linspace(-kReach, kReach, 2 * half + 1, at::kDouble);
  const Tensor density = (-0.5 * points.square()).exp();
  return {points.unsqueeze(1), density / density.sum()};
}

NoisePoints even_disc(double spacing) {
  constexpr double kRadius = 4.2;  // the normal law leaves 0.015% beyond
  const NoisePoints line = even_points(spacing);
  const Tensor axis = line.points.select(1, 0);
  const Tensor points = at::stack({axis.repeat_interleave(axis.size(0)), axis.repeat({axis.size(0)})}, 1);
  const Tensor inside = (points.square().sum(1) <= kRadius * kRadius).nonzero().squeeze(1);
  const Tensor kept = points.index_select(0, inside), weights = at::outer(line.weights, line.weights).flatten().index_select(0, inside);
  const Tensor shares = weights / weights.sum();
  return {kept / (shares.unsqueeze(1) * kept.square()).sum(0).sqrt(), shares};
}

TransitionBatch RowMaker::rows(std::size_t step, const States& states, const NoisePoints& noise, const Field& policy,
                               const Field& behaviour) const {
  const at::NoGradGuard no_grad;
  const Transition& transition = table_.transitions[step];
  const Tensor eps = reference_.eps(step, states.x) + behaviour.at(step, states.x);
  const Tensor mean = under_noise(transition_mean(table_, transition, states.x, eps), noise.points.size(0));
  const Tensor y = mean + transition.sigma * noise.points.repeat_interleave(states.x.size(0), 0);
  TransitionBatch batch = evaluate(step, states.x, y, eps, policy);
  batch.slot_weight = at::outer(noise.weights, states.weights).flatten();
  batch.num_slots = states.x.size(0);
  tamper(step, noise, batch);
  return batch;
}

TransitionBatch RowMaker::evaluate(std::size_t step, const Tensor& x, const Tensor& y, const Tensor& behaviour_eps,
                                   const Field& policy) const {
  const at::NoGradGuard no_grad;
  const Transition& transition = table_.transitions[step];
  const std::int64_t num_points = y.size(0) / x.size(0);
  const auto at_rows = [&](const Tensor& states) { return under_noise(states, num_points); };
  const auto reference = reference_.predict(step, x);
  TransitionBatch batch;
  set_transitions(batch, {transition}, at::kDouble);
  for (Tensor* column : {&batch.timestep, &batch.next_timestep, &batch.weight, &batch.alpha_bar, &batch.alpha_bar_next,
                         &batch.kernel.x_coefficient, &batch.kernel.noise_coefficient, &batch.kernel.variance, &batch.kernel.noise,
                         &batch.kernel.noise_next, &batch.kernel.noise_step, &batch.kernel.alpha})
    *column = column->expand({y.size(0)});
  batch.is_terminal = at::full({y.size(0)}, is_terminal(step), at::kBool);
  batch.x = as_latents(at_rows(x));
  batch.y = as_latents(y);
  batch.eps_behaviour = as_latents(at_rows(behaviour_eps));
  batch.eps_reference = as_latents(at_rows(reference.eps));
  batch.reward_grad_y = as_latents(is_terminal(step) ? reward_gradient(problem_.reward, y) : forward_looking_gradient(step + 1, y, policy));
  if (!problem_.flow) return batch;
  // d log N(y; mean(x), sigma^2) / dx = (d mean / dx)' (y - mean) / sigma^2.
  const auto reverse_score = [&](const Tensor& eps, const Tensor& eps_jacobian) {
    const Tensor pull = (y - at_rows(transition_mean(table_, transition, x, eps))) / (transition.sigma * transition.sigma);
    const Tensor through_eps = times(at_rows(eps_jacobian.transpose(1, 2)), pull);
    return as_latents(transition.x_coefficient * pull - transition.noise_coefficient * through_eps);
  };
  batch.reward_grad_x = as_latents(at_rows(forward_looking_gradient(step, x, policy)));
  batch.reverse_score_reference = reverse_score(reference.eps, reference.jacobian);
  batch.reverse_score_policy = reverse_score(reference.eps + policy.at(step, x), reference.jacobian + policy.jacobian(step, x));
  return batch;
}

Tensor RowMaker::forward_looking_gradient(std::size_t level, const Tensor& x, const Field& policy) const {
  const double a = table_.transitions[level].alpha_bar;
  auto prediction = reference_.predict(level, x);
  if (problem_.gradient == GradientKind::kPolicyFl) {
    prediction.eps = prediction.eps + policy.at(level, x);
    prediction.jacobian = prediction.jacobian + policy.jacobian(level, x);
  }
  const Tensor gradient = reward_gradient(problem_.reward, predict_clean(table_.transitions[level], x, prediction.eps));
  return (gradient - std::sqrt(1.0 - a) * times(prediction.jacobian.transpose(1, 2), gradient)) / std::sqrt(a);
}

void RowMaker::tamper(std::size_t step, const NoisePoints& noise, TransitionBatch& batch) const {
  const Transition& transition = table_.transitions[step];
  switch (problem_.tampering) {
    case Tampering::kNone:
      return;
    case Tampering::kNoTerminalTarget:
      if (is_terminal(step)) batch.reward_grad_y = at::zeros_like(batch.reward_grad_y);
      return;
    case Tampering::kRewardSign:
      batch.reward_grad_y = -batch.reward_grad_y;
      if (problem_.flow) batch.reward_grad_x = -batch.reward_grad_x;
      return;
    case Tampering::kReverseSign:
      std::swap(batch.reverse_score_reference, batch.reverse_score_policy);
      return;
    case Tampering::kFreshNoise: {
      // w (eps - eps#) stands for the difference of the two scores: -noise/sigma each, of noises that do not cancel.
      const Tensor difference = noise.points.flip(0) - noise.points;
      const Tensor scores = difference.repeat_interleave(batch.num_slots, 0) / (transition.sigma * transition.weight.value());
      batch.eps_reference = batch.eps_behaviour - as_latents(scores);
      return;
    }
  }
}

}  // namespace nabla::truth
