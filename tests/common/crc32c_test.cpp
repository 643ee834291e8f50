#include "common/crc32c.h"
#include "common/philox.h"
#include "tests/testing.h"

#include <string_view>
#include <vector>

namespace nabla {

namespace {

// The definition: division by the reflected polynomial, bit by bit.
std::uint32_t crc32c_by_bits(std::span<const std::byte> bytes, std::uint32_t previous = 0) {
  std::uint32_t remainder = ~previous;
  for (const std::byte byte : bytes) {
    remainder ^= static_cast<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? 0x82F63B78 : 0);
  }
  return ~remainder;
}

std::span<const std::byte> bytes_of_text(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }

}  // namespace

TEST_CASE("CRC-32C of the standard's check text and of RFC 3720's vectors") {
  const std::vector<std::byte> zeros(32), ones(32, std::byte{0xFF});
  std::vector<std::byte> ascending(32);
  for (std::size_t i = 0; i < ascending.size(); ++i) ascending[i] = static_cast<std::byte>(i);
  for (const auto function : {crc32c, crc32c_by_bits}) {
    CHECK(function(bytes_of_text("123456789"), 0) == 0xE3069283);
    CHECK(function(zeros, 0) == 0x8A9136AA);
    CHECK(function(ones, 0) == 0x62A8AB43);
    CHECK(function(ascending, 0) == 0x46DD794E);
    CHECK(function({}, 0) == 0);
  }
}

TEST_CASE("the fast CRC-32C agrees with its definition at every length and alignment") {
  std::vector<std::byte> data(40000);
  Philox random(1, RandomPurpose::kShuffle, 0);
  for (std::byte& byte : data) byte = static_cast<std::byte>(random.next());
  const std::span<const std::byte> all(data);
  for (const std::size_t length : {0, 1, 7, 8, 9, 63, 64, 4096, 12287, 12288, 12289, 24576, 36865, 39990}) {
    for (const std::size_t start : {0, 1, 5}) {
      CHECK(crc32c(all.subspan(start, length)) == crc32c_by_bits(all.subspan(start, length)));
    }
  }
}

TEST_CASE("a CRC-32C can be continued over several spans") {
  std::vector<std::byte> data(30000, std::byte{0x5A});
  const std::span<const std::byte> all(data);
  CHECK(crc32c(all.subspan(13001), crc32c(all.first(13001))) == crc32c(all));
}

TEST_CASE("one flipped bit changes the CRC-32C") {
  std::vector<std::byte> data(20000, std::byte{1});
  const std::uint32_t before = crc32c(data);
  data[9999] ^= std::byte{0x10};
  CHECK(crc32c(data) != before);
}

}  // namespace nabla
