#pragma once

#include <cstddef>
#include <cstring>
#include <span>

namespace nabla {

// Numbers at fixed places of a run of bytes, as they stand in memory; the caller has checked that they fit.

template <class T>
void put(std::span<std::byte> bytes, std::size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

template <class T>
T get(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

}  // namespace nabla
