#include "common/philox.h"

#include <cmath>
#include <numbers>

namespace nabla {

namespace {

std::uint32_t low_word(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
std::uint32_t high_word(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }

}  // namespace

std::array<std::uint32_t, 4> philox4x32_10(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {high_word(product1) ^ counter[1] ^ key[0], low_word(product1), high_word(product0) ^ counter[3] ^ key[1],
               low_word(product0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

Philox::Philox(std::uint64_t seed, RandomPurpose purpose, std::uint64_t index)
    : key_{low_word(seed), high_word(seed)}, counter_{0, static_cast<std::uint32_t>(purpose), low_word(index), high_word(index)} {}

void Philox::refill() {
  block_ = philox4x32_10(counter_, key_);
  ++counter_[0];
  used_ = 0;
}

std::uint32_t Philox::next() {
  if (used_ == 4) refill();
  return block_[used_++];
}

// Lemire's multiply-and-reject: the draws below `threshold` would make some results more frequent.
std::uint32_t Philox::below(std::uint32_t bound) {
  const std::uint32_t threshold = (0u - bound) % bound;
  while (true) {
    const std::uint64_t product = std::uint64_t{next()} * bound;
    if (low_word(product) >= threshold) return high_word(product);
  }
}

double Philox::uniform() {
  const std::uint64_t high = next();
  const std::uint64_t low = next();
  return static_cast<double>((high << 32 | low) >> 11) * 0x1p-53;
}

double Philox::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));  // 1 - u is in (0, 1], so the logarithm is finite
  const double angle = 2.0 * std::numbers::pi * uniform();
  spare_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

}  // namespace nabla
