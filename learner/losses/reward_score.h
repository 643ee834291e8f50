#pragma once

#include "learner/losses/objective.h"

namespace nabla {

// beta gamma d log R, the forward-looking part of the flow's score (docs/objectives.md). [R,C,h,w]

// At y. At the terminal y gamma is 1: there it is the whole score.
Tensor reward_score_y(const TransitionBatch& batch, const ObjectiveConfig& config);
Tensor reward_score_x(const TransitionBatch& batch, const ObjectiveConfig& config);

}  // namespace nabla
