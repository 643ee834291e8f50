#pragma once

#include "learner/losses/objective.h"

namespace nabla {

// ReFL (Xu et al. 2023; algorithm.md 6): maximises beta log R(decode(x-hat_theta(x))) at the slot's late transition through that one prediction.
// The reward is linear around the weights that sampled, of which the actor sends d log R / d x-hat: at lag 0 the gradient is exact, and the loss is
// the first-order change of -beta log R since sampling. The terminal row is not trained.
LossOutput refl(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config);

}  // namespace nabla
