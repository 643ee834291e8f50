#include "protocol/finite.h"

#include <cstdint>
#include <cstring>

namespace nabla {

namespace {

// An element is infinite or not a number when all bits of its exponent are set. The loop has no early way out, so that the compiler turns it
// into vector code; a frame is refused rarely and read whole always.
template <class Word>
[[gnu::always_inline]] inline bool no_full_exponent(std::span<const std::byte> bytes, Word exponent) {
  Word found = 0;
  for (std::size_t i = 0; i + sizeof(Word) <= bytes.size(); i += sizeof(Word)) {
    Word word;
    std::memcpy(&word, bytes.data() + i, sizeof word);
    found |= static_cast<Word>((word & exponent) == exponent);
  }
  return found == 0;
}

[[gnu::always_inline]] inline bool finite_elements(DType dtype, std::span<const std::byte> bytes) {
  switch (dtype) {
    case DType::kF16:
      return no_full_exponent<std::uint16_t>(bytes, 0x7C00);
    case DType::kBF16:
      return no_full_exponent<std::uint16_t>(bytes, 0x7F80);
    case DType::kF32:
      return no_full_exponent<std::uint32_t>(bytes, 0x7F800000);
    case DType::kF64:
      return no_full_exponent<std::uint64_t>(bytes, 0x7FF0000000000000);
    default:
      return true;
  }
}

#if defined(__x86_64__)
__attribute__((target("avx2"), optimize("O3"))) bool finite_elements_avx2(DType dtype, std::span<const std::byte> bytes) {
  return finite_elements(dtype, bytes);
}
#endif

}  // namespace

bool all_finite(DType dtype, std::span<const std::byte> bytes) {
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  if (has_avx2) return finite_elements_avx2(dtype, bytes);
#endif
  return finite_elements(dtype, bytes);
}

}  // namespace nabla
