#pragma once

#include "protocol/tensor_table.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

// Weights in flight: the float32 LoRA of one version, its digest, and a check pair: one fixed input and eps_theta - eps_reference on it, which the
// receiver must reproduce through the path it samples with.
struct Snapshot {
  std::int64_t version = 0;
  std::string digest;               // XXH3-128 over the LoRA tensors (names "<module>.lora_A.weight", ...)
  std::string base_digest;          // of the base model
  std::vector<TensorEntry> table;   // LoRA tensors under their names; "check.sample", "check.timestep", "check.prompt_embeds",
                                    // "check.negative_embeds", "check.difference"
  Bytes data;
  std::uint32_t data_crc32c = 0;
};

}  // namespace nabla
