#pragma once

#include "common/dtype.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nabla {

// One tensor inside a data frame; offsets are multiples of 64.
struct TensorEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;  // bytes from the start of the data frame
  std::uint64_t size = 0;    // bytes; must equal numel * byte_size(dtype)
};

// A shared, immutable run of bytes: a received frame, a mapped log record, or memory of ours.
struct Bytes {
  std::shared_ptr<const void> owner;
  std::span<const std::byte> view;
};

// Bytes to be put behind one another with 64-byte alignment.
struct TensorSource {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

struct PackedTensors {
  std::vector<TensorEntry> table;
  Bytes data;  // 64-byte aligned
};

// Lays the tensors out in name order in one aligned buffer (one copy).
PackedTensors pack_tensors(const std::map<std::string, TensorSource>& tensors);

}  // namespace nabla
