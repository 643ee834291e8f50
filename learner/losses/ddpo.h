#pragma once

#include "learner/losses/objective.h"

namespace nabla {

// DDPO (Black et al. 2024; docs/objectives.md): -min(rho A, clip(rho, 1 +- c) A) with rho = P_theta(y|x) / P_behaviour(y|x). As in its release, log-densities
// are means over elements, which is what a clip range of 1e-4 is made for. No reward gradient.
LossOutput ddpo(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config);

}  // namespace nabla
