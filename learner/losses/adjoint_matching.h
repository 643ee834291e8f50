#pragma once

#include "learner/losses/objective.h"

namespace nabla {

// Adjoint Matching (Domingo-Enrich et al. 2024; docs/objectives.md): mean((w (eps_theta - eps#) + beta a_y)^2) with the lean adjoint a_y in
// reward_grad_y, on trajectories of the memoryless sampler (eta 1). Neither flow network nor reverse loss.
LossOutput adjoint_matching(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config);

}  // namespace nabla
