#pragma once

#include "learner/losses/objective.h"

namespace nabla {

// nabla-DB itself (docs/objectives.md): the backward kernel is explicit, and the network F_phi is the whole score d log F / dx.
//   forward   s_theta - d log P_B / dy - F_phi(y),  F(x_N) = beta d log R
//   reverse   r_theta - d log P_B / dx + F_phi(x)
//   terminal  F_phi(x_N, 0) - beta d log R
// Weights of the terms and of a slot as in the residual form. Needs transitions of eta 1 and gradient kind terminal.
LossOutput plain_nabla_db(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config);

}  // namespace nabla
