#include "protocol/finite.h"
#include "tests/testing.h"

#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace nabla {

namespace {

// Plants `bad` at every place of an otherwise finite array, so that no lane of the vector code goes unseen.
template <class Word>
void check_every_place(DType dtype, Word good, std::vector<Word> all_bad) {
  std::vector<Word> words(67, good);
  CHECK(all_finite(dtype, std::as_bytes(std::span(words))));
  for (const Word bad : all_bad) {
    for (std::size_t i = 0; i < words.size(); ++i) {
      words[i] = bad;
      CHECK_FALSE(all_finite(dtype, std::as_bytes(std::span(words))));
      words[i] = good;
    }
  }
}

}  // namespace

TEST_CASE("infinities and NaNs of every width are found at every place") {
  check_every_place<std::uint16_t>(DType::kF16, 0xFBFF, {0x7C00, 0xFC00, 0x7E01, 0xFFFF});  // the largest negative half is finite
  check_every_place<std::uint16_t>(DType::kBF16, 0xFF7F, {0x7F80, 0xFF80, 0x7FC0});
  check_every_place<std::uint32_t>(DType::kF32, 0xFF7FFFFF, {0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001});
  check_every_place<std::uint64_t>(DType::kF64, 0xFFEFFFFFFFFFFFFF, {0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000001});
}

TEST_CASE("integers are finite whatever their bits") {
  const std::vector<std::uint64_t> ones(9, ~std::uint64_t{0});
  for (const DType dtype : {DType::kBool, DType::kU8, DType::kI8, DType::kI16, DType::kI32, DType::kI64})
    CHECK(all_finite(dtype, std::as_bytes(std::span(ones))));
}

TEST_CASE("bytes that are not aligned are checked too") {
  std::vector<std::byte> bytes(4 * 9 + 1);
  const float infinity = std::numeric_limits<float>::infinity();
  std::memcpy(bytes.data() + 1 + 4 * 8, &infinity, sizeof infinity);
  CHECK_FALSE(all_finite(DType::kF32, std::span(bytes).subspan(1)));
  CHECK(all_finite(DType::kF32, std::span(bytes).subspan(1, 32)));
  CHECK(all_finite(DType::kF32, {}));
}

}  // namespace nabla
