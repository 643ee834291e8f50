#include "common/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace nabla {

namespace {

constexpr std::size_t kMostAtOnce = std::size_t{1} << 30;  // the library counts in int

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous) {
  std::uint32_t remainder = ~previous;
  while (!bytes.empty()) {
    const std::size_t count = std::min(bytes.size(), kMostAtOnce);
    // It takes what it only reads without const.
    auto* const data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(bytes.data()));
    remainder = crc32_iscsi(data, static_cast<int>(count), remainder);
    bytes = bytes.subspan(count);
  }
  return ~remainder;
}

}  // namespace nabla
