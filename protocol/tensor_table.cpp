#include "protocol/tensor_table.h"

#include "common/error.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace nabla {

namespace {

constexpr std::uint64_t kAlignment = 64;
constexpr std::size_t kMaxDimensions = 8;

std::uint64_t align_up(std::uint64_t offset) { return (offset + kAlignment - 1) / kAlignment * kAlignment; }

// Bytes of a tensor; nothing if a dimension is below 1 or the product leaves 64 bits.
std::optional<std::uint64_t> bytes_of(DType dtype, const std::vector<std::int64_t>& shape) {
  std::uint64_t bytes = byte_size(dtype);
  for (const std::int64_t dimension : shape) {
    if (dimension < 1 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(dimension), &bytes)) return std::nullopt;
  }
  return bytes;
}

std::optional<std::string> find_entry_fault(const TensorEntry& entry, std::uint64_t expected_offset, std::uint64_t frame_bytes) {
  if (entry.name.empty()) return "a tensor has no name";
  if (entry.shape.size() > kMaxDimensions)
    return fmt::format("tensor '{}' has {} dimensions, at most {} are allowed", entry.name, entry.shape.size(), kMaxDimensions);
  const auto bytes = bytes_of(entry.dtype, entry.shape);
  if (!bytes) return fmt::format("tensor '{}' has a dimension below 1 or more elements than can be counted", entry.name);
  if (entry.size != *bytes) return fmt::format("tensor '{}' says {} bytes, its type and shape make {}", entry.name, entry.size, *bytes);
  if (entry.offset != expected_offset)
    return fmt::format("tensor '{}' stands at byte {}, expected {}", entry.name, entry.offset, expected_offset);
  if (entry.offset > frame_bytes || entry.size > frame_bytes - entry.offset) {
    return fmt::format("tensor '{}' ends behind the frame of {} bytes", entry.name, frame_bytes);
  }
  return std::nullopt;
}

struct AlignedMemory {
  std::shared_ptr<const void> owner;
  std::byte* data = nullptr;
};

// Aligned by hand: memory from aligned_alloc() is not found again for the next frame of that size once it was freed (glibc), and a frame that lies in memory
// that was used just before is packed several times faster.
AlignedMemory allocate_aligned(std::uint64_t bytes) {
  void* memory = std::malloc(bytes + kAlignment);
  if (memory == nullptr) throw std::bad_alloc();
  AlignedMemory aligned;
  aligned.owner = std::shared_ptr<const void>(memory, [](void* pointer) { std::free(pointer); });
  aligned.data = static_cast<std::byte*>(memory) + (kAlignment - reinterpret_cast<std::uintptr_t>(memory) % kAlignment) % kAlignment;
  return aligned;
}

}  // namespace

PackedTensors pack_tensors(const std::map<std::string, TensorSource>& tensors) {
  PackedTensors packed;
  std::uint64_t end = 0;
  for (const auto& [name, source] : tensors) {
    const auto bytes = bytes_of(source.dtype, source.shape);
    if (!bytes || *bytes != source.bytes.size() || source.shape.size() > kMaxDimensions) {
      throw data_error("[record] tensor '{}' comes with {} bytes, which is not what its type {} and {} dimensions hold", name,
                       source.bytes.size(), name_of(source.dtype), source.shape.size());
    }
    packed.table.push_back({name, source.dtype, source.shape, align_up(end), *bytes});
    end = packed.table.back().offset + *bytes;
  }
  const AlignedMemory aligned = allocate_aligned(end);
  std::byte* const memory = aligned.data;
  packed.data = {aligned.owner, {memory, end}};
  std::uint64_t written = 0;
  auto source = tensors.begin();
  for (const TensorEntry& entry : packed.table) {
    std::memset(memory + written, 0, entry.offset - written);
    std::memcpy(memory + entry.offset, source->second.bytes.data(), entry.size);
    written = entry.offset + entry.size;
    ++source;
  }
  return packed;
}

std::optional<std::string> find_table_fault(const std::vector<TensorEntry>& table, std::uint64_t frame_bytes) {
  std::uint64_t end = 0;
  const std::string* previous = nullptr;
  for (const TensorEntry& entry : table) {
    if (previous != nullptr && entry.name <= *previous)
      return fmt::format("tensor '{}' stands behind '{}'; names must ascend", entry.name, *previous);
    if (auto fault = find_entry_fault(entry, align_up(end), frame_bytes)) return fault;
    end = entry.offset + entry.size;
    previous = &entry.name;
  }
  if (end != frame_bytes) return fmt::format("the tensors end at byte {}, the frame has {}", end, frame_bytes);
  return std::nullopt;
}

const TensorEntry* find_tensor(const std::vector<TensorEntry>& table, std::string_view name) {
  for (const TensorEntry& entry : table) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

}  // namespace nabla
