#pragma once

#include "protocol/tensor_table.h"

#include <cstdint>
#include <vector>

namespace nabla {

// The sampled states of a slot, for an actor that recomputes what depends on the weights: tensors "x" and "y" of its record.
struct SlotStates {
  std::int64_t slot = 0;
  std::vector<TensorEntry> table;
  Bytes data;
};

}  // namespace nabla
