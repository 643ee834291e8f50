#pragma once

#include "common/crc32c.h"

#include <cstdint>
#include <span>
#include <string>

namespace nabla {

// The 32 bytes before a body, each part right or wrong.
struct EnvelopeBytes {
  std::string magic = "NBF1";
  std::uint8_t type = 1, num_frames = 1;
  std::uint16_t reserved = 0;
  std::uint64_t request = 1;
  std::uint32_t body_crc32c = 0, data_crc32c = 0, reserved_too = 0;
  std::uint32_t flip = 0;  // of its own checksum

  std::string text() const {
    std::string bytes = magic;
    const auto add = [&bytes](const auto& value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
    add(type), add(num_frames), add(reserved), add(request), add(body_crc32c), add(data_crc32c), add(reserved_too);
    add(crc32c(std::as_bytes(std::span(bytes))) ^ flip);
    return bytes;
  }
};

}  // namespace nabla
