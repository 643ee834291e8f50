#include "learner/transition_choice.h"

#include "common/config/run_config.h"
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

// Steps before the terminal one that count as late; one at least.
std::int64_t num_late(const TransitionChoice& choice) {
  const auto last = static_cast<std::int64_t>(std::llround(static_cast<double>(choice.num_steps) * choice.last_fraction));
  return std::clamp<std::int64_t>(last - 1, 1, choice.num_steps - 1);
}

// A trajectory of one step has nothing but its terminal transition, whatever the method.
bool has_terminal(const TransitionChoice& choice) { return choice.set != TransitionSet::kLateOne || choice.num_steps == 1; }

// Steps that are drawn from, beside the terminal one: the first, how many there are, and how many are drawn.
struct Draw {
  std::int64_t first, count, drawn;
};
Draw draw_of(const TransitionChoice& choice) {
  const std::int64_t others = choice.num_steps - 1, drawn = rows_per_slot(choice) - (has_terminal(choice) ? 1 : 0);
  if (has_terminal(choice)) return {0, others, drawn};
  return {others - num_late(choice), num_late(choice), drawn};
}

}  // namespace

TransitionChoice transition_choice_of(const RunConfig& config) {
  TransitionChoice choice{config.sampling.num_steps, config.model.timestep_fraction, config.sampling.low_var_subsampling};
  const std::string& method = config.experiment.method;
  if (method == "ReFL") choice.set = TransitionSet::kLateOne;
  if (method == "DRaFT-1" || method == "DRaFT-LV") choice.set = TransitionSet::kTerminal;
  choice.last_fraction = config.model.refl_last_fraction;
  return choice;
}

std::int64_t rows_per_slot(const TransitionChoice& choice) {
  if (choice.set != TransitionSet::kSpread || choice.num_steps == 1) return 1;
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
  const auto [first, count, drawn] = draw_of(choice);
  auto chosen = choice.stratified ? one_of_each_bin(count, drawn, stream) : any_distinct(count, drawn, stream);
  for (auto& step : chosen) step += static_cast<std::int32_t>(first);
  if (has_terminal(choice)) chosen.push_back(static_cast<std::int32_t>(choice.num_steps - 1));
  return chosen;
}

std::vector<double> inclusion_probabilities(const TransitionChoice& choice) {
  const auto [first, count, drawn] = draw_of(choice);
  std::vector<double> chances(static_cast<std::size_t>(choice.num_steps), 0.0);
  auto step = chances.begin() + first;
  if (choice.stratified) {
    for (const auto size : bin_sizes(count, drawn)) step = std::fill_n(step, size, 1.0 / static_cast<double>(size));
  } else {
    std::fill_n(step, count, static_cast<double>(drawn) / static_cast<double>(std::max<std::int64_t>(count, 1)));
  }
  if (has_terminal(choice)) chances.back() = 1.0;
  return chances;
}

}  // namespace nabla
