#include "learner/losses/rows.h"

#include <torch/types.h>

namespace nabla {

Tensor per_row(const Tensor& column) { return column.view({-1, 1, 1, 1}); }

Tensor row_mean_square(const Tensor& field) { return field.square().mean({1, 2, 3}); }

Tensor row_sum(const Tensor& field) { return field.sum({1, 2, 3}); }

Tensor row_norms(const Tensor& field) { return row_sum(field.square()).sqrt(); }

Tensor scale_down_rows(const Tensor& field, double limit) {
  // A row of zeros stays one, even where the limit is zero too.
  return field * per_row((limit / row_norms(field).clamp_min(1e-30)).clamp_max(1.0));
}

Tensor sum_over_slots(const TransitionBatch& batch, const Tensor& rows) { return (batch.slot_weight * rows).sum(); }

Tensor norm_over_slots(const TransitionBatch& batch, const Tensor& field) {
  return sum_over_slots(batch, row_mean_square(field.detach()).sqrt());
}

Tensor unet_regularizer(const TransitionBatch& batch, const Predictions& predictions) {
  return row_mean_square(predictions.eps - (batch.eps_anchor.defined() ? batch.eps_anchor : batch.eps_behaviour));
}

Tensor weigh_in_time(const TransitionBatch& batch, const Tensor& residual, TimeWeighting weighting) {
  if (weighting == TimeWeighting::kUniform) return residual / per_row(batch.weight);
  // sigma (s_theta - target): half its square is the KL divergence of the step's two Gaussians.
  if (weighting == TimeWeighting::kSigma) return residual * per_row(batch.kernel.variance.sqrt());
  return residual;
}

Tensor terminal_loss(const TransitionBatch& batch, const Tensor& field) {
  const Tensor rows = row_mean_square(field) * batch.is_terminal;
  return batch.slot_terminal_weight.defined() ? (batch.slot_terminal_weight * rows).sum() : sum_over_slots(batch, rows);
}

}  // namespace nabla
