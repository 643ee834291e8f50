#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>

namespace nabla {

// Bytes of tensors that a role of a run has: its weights, with what optimisers hold, and the most that each stage has at once, the weights among it.
struct RoleMemory {
  std::int64_t weights = 0;
  std::map<std::string, std::int64_t> stages;
  std::int64_t peak() const {
    std::int64_t most = weights;
    for (const auto& [name, bytes] : stages) most = std::max(most, bytes);
    return most;
  }
};

// Memory that tensors of the meta device would take. Tensors there have shapes and no numbers: a network runs on them in no time and without memory, gradients
// included, and while this lives every tensor that it would allocate is counted as if it did, by the kernels of the CPU. One at a time in a process.
class ShapeMemory {
 public:
  ShapeMemory();
  ~ShapeMemory();
  ShapeMemory(const ShapeMemory&) = delete;
  ShapeMemory& operator=(const ShapeMemory&) = delete;
  std::int64_t live_bytes() const;
  std::int64_t peak_bytes() const;
  // The peak starts again from what is there now.
  void forget_peak();
};

}  // namespace nabla
