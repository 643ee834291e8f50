#pragma once

#include "learner/losses/objective.h"

namespace nabla {

// P_B(x|y) = N(sqrt(alpha) y, (1 - alpha) I), the noising kernel (docs/objectives.md); it belongs to transitions of eta 1. [R,C,h,w] each.

// d log P_B(x|y) / dx.
Tensor backward_score_x(const TransitionBatch& batch);
// Its mean over y ~ N(mean(x, eps), sigma^2).
Tensor mean_backward_score_x(const TransitionBatch& batch, const Tensor& eps);
// d log P_B(x|y) / dy - d log N(y; mean(x, eps), sigma^2) / dy = (y - sqrt(b) x-hat) / (1 - b): the two large parts cancel in closed form.
Tensor backward_minus_forward_score(const TransitionBatch& batch, const Tensor& eps);

}  // namespace nabla
