#pragma once

#include "learner/losses/objective.h"

namespace nabla {

// ReFL (Xu et al. 2023; docs/objectives.md): maximises beta log R(decode(x-hat_theta(x))) at the slot's one late transition through that prediction.
// The reward is linear around the weights that sampled, of which the actor sends d log R / d x-hat: at lag 0 the gradient is exact, and the loss is
// the first-order change of -beta log R since sampling.
LossOutput refl(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config);

}  // namespace nabla
