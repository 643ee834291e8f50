#include "common/philox.h"
#include "tests/testing.h"

#include <array>
#include <cmath>
#include <set>
#include <vector>

namespace nabla {

using Block = std::array<std::uint32_t, 4>;

TEST_CASE("Philox4x32-10 gives Random123's known answers") {
  constexpr std::uint32_t kOnes = 0xFFFFFFFF;
  CHECK(philox4x32_10({0, 0, 0, 0}, {0, 0}) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32_10({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}) == Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a stream is laid out as block, purpose and index under the seed") {
  const std::uint64_t seed = 0x1122334455667788, index = 0x99AABBCCDDEEFF00;
  Philox stream(seed, RandomPurpose::kStepNoise, index);
  for (std::uint32_t block = 0; block < 2; ++block) {
    for (const std::uint32_t word : philox4x32_10({block, 2, 0xDDEEFF00, 0x99AABBCC}, {0x55667788, 0x11223344}))
      CHECK(stream.next() == word);
  }
}

TEST_CASE("streams differ by seed, by purpose and by index") {
  std::set<std::uint32_t> first_words;
  for (const std::uint64_t seed : {0, 1}) {
    for (const RandomPurpose purpose : {RandomPurpose::kStartNoise, RandomPurpose::kPrompt}) {
      for (const std::uint64_t index : {0, 1}) first_words.insert(Philox(seed, purpose, index).next());
    }
  }
  CHECK(first_words.size() == 8);
}

TEST_CASE("below stays under its bound and hits every value alike") {
  Philox stream(3, RandomPurpose::kTransitions, 0);
  std::vector<int> hits(6);
  for (int i = 0; i < 60000; ++i) ++hits[stream.below(6)];
  for (const int count : hits) CHECK(std::abs(count - 10000) < 500);  // five and a half standard deviations
  CHECK(stream.below(1) == 0);
  CHECK(stream.below(0xFFFFFFFF) < 0xFFFFFFFF);
}

TEST_CASE("uniform and normal numbers have their moments") {
  Philox stream(4, RandomPurpose::kStartNoise, 9);
  double sum = 0, normal_sum = 0, normal_squares = 0, normal_fourth = 0;
  bool in_range = true;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double u = stream.uniform(), n = stream.normal();
    in_range = in_range && u >= 0 && u < 1;
    sum += u;
    normal_sum += n;
    normal_squares += n * n;
    normal_fourth += n * n * n * n;
  }
  CHECK(in_range);
  CHECK(std::abs(sum / kDraws - 0.5) < 0.005);
  CHECK(std::abs(normal_sum / kDraws) < 0.015);
  CHECK(std::abs(normal_squares / kDraws - 1) < 0.025);
  CHECK(std::abs(normal_fourth / kDraws - 3) < 0.2);
}

}  // namespace nabla
