#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace nabla {

// CRC-32C (Castagnoli), by the fastest instructions of this machine. Feed the result back as `previous` to continue over several spans.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous = 0);

}  // namespace nabla
