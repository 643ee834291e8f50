#pragma once

#include "common/config/run_config.h"

namespace nabla {

// Throws usage_error on options that contradict each other, or that would silently do nothing beside others, with the reason and the way out.
// Each value by itself is taken to be allowed.
void require_no_contradictions(const RunConfig& config);

}  // namespace nabla
