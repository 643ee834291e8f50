#pragma once

#include "common/config/run_config.h"

namespace nabla {

// Throws usage_error on options that contradict each other, or that ask for a part of the objective which the run does not have, with the reason
// and the way out. Numbers that belong to another method are left alone.
// Each value by itself is taken to be allowed.
void require_no_contradictions(const RunConfig& config);

}  // namespace nabla
