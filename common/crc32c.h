#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace nabla {

// CRC-32C (Castagnoli). Feed the result back as `previous` to continue over several spans. Uses SSE4.2 where the machine has it.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous = 0);

// The portable implementation, with the same result: what machines without SSE4.2 run.
std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t previous = 0);

}  // namespace nabla
