#pragma once

#include "common/dtype.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
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

// Lays the tensors out in name order in one aligned buffer (one copy); padding is zero. data_error on a source whose bytes do not fit its shape.
PackedTensors pack_tensors(const std::map<std::string, TensorSource>& tensors);

// Whether a received table is the one layout that pack_tensors makes of its names, types and shapes, for a frame of `frame_bytes`: names ascending,
// 1 <= dimension, at most 8 of them, sizes of the types, offsets following one another with the least padding, nothing after the last tensor.
// Nothing: it is. Else the reason, naming the tensor.
std::optional<std::string> find_table_fault(const std::vector<TensorEntry>& table, std::uint64_t frame_bytes);

// The entry of a name; nullptr if absent. Owned by the table.
const TensorEntry* find_tensor(const std::vector<TensorEntry>& table, std::string_view name);

}  // namespace nabla
