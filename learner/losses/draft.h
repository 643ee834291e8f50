#pragma once

#include "learner/losses/objective.h"

namespace nabla {

// DRaFT (Clark et al. 2024; docs/objectives.md): maximises beta log R(decode(x_N)) through the last sampling step alone. The reward is linear around the
// weights that sampled, so at lag 0 the gradient is exact. Rows other than the terminal one are not trained.

// K = 1: through x_N = mean_theta(x) + sigma z. The loss is the first-order change of -beta log R since sampling.
LossOutput draft_1(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config);

// LV: the mean over noisings of x_N back to the last step; the reward is that of the last transition's mean from there. The loss is -beta times
// the first-order difference of log R to that of x_N.
LossOutput draft_lv(const TransitionBatch& batch, const Predictions& predictions, const ObjectiveConfig& config);

}  // namespace nabla
