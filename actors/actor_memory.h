#pragma once

#include "common/config/run_config.h"
#include "common/device/shape_memory.h"

namespace nabla {

// What an actor of this configuration takes for a sampling ticket, from the shapes of its networks: no weights are read but the reward's. Stages "sampling" and
// "points" (reference, reward gradients and reverse scores).
// `rows_each`: transitions of a trajectory.
RoleMemory plan_actor_memory(const RunConfig& config, std::int64_t rows_each);

}  // namespace nabla
