#pragma once

#include "common/config/run_config.h"
#include "common/device/shape_memory.h"

namespace nabla {

// What the learner of this configuration takes for an update, from the shapes of its networks: no weights are read. Stage "update".
RoleMemory plan_learner_memory(const RunConfig& config);

// Bytes of the records of one update, which it holds while they are trained.
std::int64_t record_bytes_of_update(const RunConfig& config, const std::vector<std::int64_t>& latent_shape);

}  // namespace nabla
