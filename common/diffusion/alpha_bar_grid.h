#pragma once

#include "common/diffusion/transition_kernel.h"

#include <vector>

namespace nabla {

// The table of a schedule that is given by its alpha-bars alone, ascending, from the first state to the last: the transitions of
// make_step_table with timesteps that count down to 0. usage_error for fewer than two levels.
StepTable make_step_table(const std::vector<double>& alpha_bars, double eta);

}  // namespace nabla
