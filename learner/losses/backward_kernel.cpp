#include "learner/losses/backward_kernel.h"

#include "learner/losses/rows.h"

#include <torch/types.h>

namespace nabla {

Tensor backward_score_x(const TransitionBatch& batch) {
  return (per_row(batch.kernel.alpha.sqrt()) * batch.y - batch.x) / per_row(batch.kernel.noise_step);
}

// x - sqrt(alpha) mean = sqrt(alpha) k eps, and sqrt(alpha) k / (1 - alpha) = 1 / sqrt(1 - a).
Tensor mean_backward_score_x(const TransitionBatch& batch, const Tensor& eps) { return -eps / per_row(batch.kernel.noise.sqrt()); }

// 1/sigma^2 - alpha/(1 - alpha) = 1/(1 - b), and k/sigma^2 = sqrt(1 - a) / (sqrt(alpha) (1 - b)).
Tensor backward_minus_forward_score(const TransitionBatch& batch, const Tensor& eps) {
  const Tensor clean = per_row(batch.kernel.x_coefficient) * (batch.x - per_row(batch.kernel.noise.sqrt()) * eps);
  return (batch.y - clean) / per_row(batch.kernel.noise_next);
}

}  // namespace nabla
