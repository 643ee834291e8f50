#pragma once

#include "common/config/run_config.h"
#include "common/device/shape_memory.h"
#include "launch/diagnosis.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

// What a run's processes will take at their peaks, from the configuration and the shapes of its networks.
struct MemoryPlan {
  RoleMemory actor, learner;         // tensors
  std::int64_t learner_records = 0;  // of one update, in the learner
  std::int64_t program = 0;          // of a process that has no tensors yet: this one's when the plan was begun
};
MemoryPlan plan_memory(const RunConfig& config);

// A line a role, and one that holds what the local processes take against the memory that there is, where they take the machine's.
std::vector<Finding> memory_findings(const RunConfig& config, const MemoryPlan& plan, std::uint64_t available_bytes);

}  // namespace nabla
