#pragma once

#include <array>
#include <cstdint>

namespace nabla {

// What a stream of random numbers is for. Values are part of the reproducibility contract: never renumber.
enum class RandomPurpose : std::uint32_t {
  kStartNoise = 1,      // index = slot (or the picture's index in an evaluation)
  kStepNoise = 2,       // index = slot
  kPrompt = 3,          // index = slot
  kTransitions = 4,     // index = slot
  kInitialization = 5,  // index = running number of the parameter
  kPretrainBatch = 6,   // index = step
  kPretrainNoise = 7,   // index = step
  kRender = 8,          // index = picture
  kShuffle = 9,
  kEvaluationNoise = 10,
};

// One block of Philox4x32-10 (Salmon et al. 2011, Random123).
std::array<std::uint32_t, 4> philox4x32_10(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

// Counter-based Philox4x32-10 stream keyed by (seed, purpose, index): the same numbers wherever and whenever they are drawn.
// The key is the seed; the counter is (block, purpose, index low, index high), so a stream holds 2^34 words.
class Philox {
 public:
  Philox(std::uint64_t seed, RandomPurpose purpose, std::uint64_t index);

  std::uint32_t next();                      // uniform over all 32-bit values
  std::uint32_t below(std::uint32_t bound);  // uniform in [0, bound), bound > 0, without bias
  double uniform();                          // [0, 1), 53 bits
  double normal();                           // standard normal, Box-Muller in double

 private:
  void refill();

  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  int used_ = 4;
  double spare_ = 0.0;
  bool has_spare_ = false;
};

}  // namespace nabla
