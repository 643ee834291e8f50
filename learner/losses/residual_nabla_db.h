#pragma once

#include "learner/losses/objective.h"

namespace nabla {

// Residual nabla-DB in epsilon form (docs/objectives.md). A slot contributes
//   1/K * ( sum over its rows of [ L_forward + w_B L_reverse + lambda reg ] + g_phi(x_N, 0)^2 ), element means.
LossOutput residual_nabla_db(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config);

}  // namespace nabla
