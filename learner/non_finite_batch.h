#pragma once

#include "common/config/run_config.h"
#include "learner/collate.h"
#include "learner/group/process_group.h"
#include "learner/learner_model.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

// A micro-batch whose loss or gradient is not finite, as `nabla probe loss` takes it.
struct NonFiniteBatch {
  std::vector<std::int64_t> slots;
  TensorMap tensors;  // inputs of the probe, clipped already
};

NonFiniteBatch non_finite_batch(std::span<const SharedRecord> records, const MicroBatch& micro, const RunConfig& config);

// All ranks together: the first rank's that has one.
std::optional<NonFiniteBatch> gather(ProcessGroup& group, const std::optional<NonFiniteBatch>& own);

// Makes the folder: batch.safetensors, lora.safetensors, flow/ where there is one, config.yaml, and command.sh, which repeats the loss. `model` has the weights
// that it was computed with.
void write_non_finite_batch(const std::string& folder, const NonFiniteBatch& batch, const RunConfig& config, const LearnerModel& model);

}  // namespace nabla
