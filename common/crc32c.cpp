#include "common/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace nabla {

namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // reflected

constexpr std::array<std::uint32_t, 256> kByteTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? kPolynomial : 0);
    table[byte] = crc;
  }
  return table;
}();

// The raw register, without the inversions at both ends.
std::uint32_t advance_portable(std::uint32_t crc, std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) crc = (crc >> 8) ^ kByteTable[(crc ^ static_cast<std::uint32_t>(byte)) & 0xFF];
  return crc;
}

#if defined(__x86_64__)

std::uint64_t load_word(const std::byte* data) {
  std::uint64_t word;
  std::memcpy(&word, data, sizeof word);
  return word;
}

__attribute__((target("sse4.2"))) std::uint32_t advance_sse42(std::uint32_t crc, std::span<const std::byte> bytes) {
  std::uint64_t wide = crc;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) wide = _mm_crc32_u64(wide, load_word(bytes.data() + i));
  crc = static_cast<std::uint32_t>(wide);
  for (; i < bytes.size(); ++i) crc = _mm_crc32_u8(crc, static_cast<std::uint8_t>(bytes[i]));
  return crc;
}

// One instruction has a latency of three cycles and a throughput of one, so three lanes run side by side. Their registers are joined by
// pushing the first ones over the zeros of a lane, which is linear: one table a byte of the register.
constexpr std::size_t kLaneBytes = 4096;
using ShiftTable = std::array<std::array<std::uint32_t, 256>, 4>;

ShiftTable make_shift_table() {
  const std::array<std::byte, kLaneBytes> zeros{};
  std::array<std::uint32_t, 32> of_bit;
  for (int bit = 0; bit < 32; ++bit) of_bit[bit] = advance_sse42(std::uint32_t{1} << bit, zeros);
  ShiftTable table{};
  for (std::size_t part = 0; part < 4; ++part) {
    for (std::size_t value = 0; value < 256; ++value) {
      for (std::size_t bit = 0; bit < 8; ++bit) {
        if (value >> bit & 1) table[part][value] ^= of_bit[8 * part + bit];
      }
    }
  }
  return table;
}

std::uint32_t shift_over_lane(const ShiftTable& table, std::uint32_t crc) {
  return table[0][crc & 0xFF] ^ table[1][crc >> 8 & 0xFF] ^ table[2][crc >> 16 & 0xFF] ^ table[3][crc >> 24];
}

__attribute__((target("sse4.2"))) std::uint32_t advance_three_lanes(std::uint32_t crc, std::span<const std::byte> bytes) {
  static const ShiftTable table = make_shift_table();
  while (bytes.size() >= 3 * kLaneBytes) {
    std::uint64_t first = crc, second = 0, third = 0;
    const std::byte* data = bytes.data();
    for (std::size_t i = 0; i < kLaneBytes; i += 8) {
      first = _mm_crc32_u64(first, load_word(data + i));
      second = _mm_crc32_u64(second, load_word(data + kLaneBytes + i));
      third = _mm_crc32_u64(third, load_word(data + 2 * kLaneBytes + i));
    }
    crc = shift_over_lane(table, static_cast<std::uint32_t>(first)) ^ static_cast<std::uint32_t>(second);
    crc = shift_over_lane(table, crc) ^ static_cast<std::uint32_t>(third);
    bytes = bytes.subspan(3 * kLaneBytes);
  }
  return advance_sse42(crc, bytes);
}

std::uint32_t advance(std::uint32_t crc, std::span<const std::byte> bytes) {
  static const bool has_sse42 = __builtin_cpu_supports("sse4.2");
  return has_sse42 ? advance_three_lanes(crc, bytes) : advance_portable(crc, bytes);
}

#else

std::uint32_t advance(std::uint32_t crc, std::span<const std::byte> bytes) { return advance_portable(crc, bytes); }

#endif

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous) { return ~advance(~previous, bytes); }

std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t previous) { return ~advance_portable(~previous, bytes); }

}  // namespace nabla
