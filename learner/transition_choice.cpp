#include "learner/transition_choice.h"

#include "common/philox.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nabla {

namespace {

std::vector<std::int32_t> one_of_each_bin(std::int64_t items, std::int64_t bins, Philox& stream) {
  std::vector<std::int32_t> chosen;
  std::int64_t first = 0;
  for (const auto size : bin_sizes(items, bins)) {
    chosen.push_back(static_cast<std::int32_t>(first + stream.below(static_cast<std::uint32_t>(size))));
    first += size;
  }
  return chosen;
}

// The head of a Fisher-Yates shuffle.
std::vector<std::int32_t> any_distinct(std::int64_t items, std::int64_t count, Philox& stream) {
  std::vector<std::int32_t> steps(static_cast<std::size_t>(items));
  std::iota(steps.begin(), steps.end(), 0);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto other = i + stream.below(static_cast<std::uint32_t>(items - i));
    std::swap(steps[static_cast<std::size_t>(i)], steps[static_cast<std::size_t>(other)]);
  }
  steps.resize(static_cast<std::size_t>(count));
  std::sort(steps.begin(), steps.end());
  return steps;
}

}  // namespace

std::int64_t rows_per_slot(const TransitionChoice& choice) {
  // Rounded, because int(10 * 0.3) is 2 in floating point.
  const auto wanted = static_cast<std::int64_t>(std::llround(static_cast<double>(choice.num_steps) * choice.fraction));
  return std::clamp<std::int64_t>(wanted, 0, choice.num_steps - 1) + 1;
}

std::vector<std::int64_t> bin_sizes(std::int64_t items, std::int64_t bins) {
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(bins), bins > 0 ? items / bins : 0);
  // All quotas are equal, so all remainders are: the first bins take the rest.
  for (std::int64_t i = 0; bins > 0 && i < items % bins; ++i) ++sizes[static_cast<std::size_t>(i)];
  return sizes;
}

std::vector<std::int32_t> choose_transitions(const TransitionChoice& choice, std::uint64_t seed, std::int64_t slot) {
  Philox stream(seed, RandomPurpose::kTransitions, static_cast<std::uint64_t>(slot));
  const std::int64_t others = choice.num_steps - 1, count = rows_per_slot(choice) - 1;
  auto chosen = choice.stratified ? one_of_each_bin(others, count, stream) : any_distinct(others, count, stream);
  chosen.push_back(static_cast<std::int32_t>(others));
  return chosen;
}

}  // namespace nabla
