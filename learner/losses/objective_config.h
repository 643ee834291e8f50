#pragma once

#include "common/config/run_config.h"
#include "learner/losses/objective.h"

namespace nabla {

// The objective's settings of a run. The sign of experiment.reward_sign is in reward_scale. usage_error on settings that this objective cannot
// have, with the reason.
ObjectiveConfig objective_of(const RunConfig& config);

}  // namespace nabla
