#pragma once

#include <cstdint>
#include <vector>

namespace nabla {

struct RunConfig;

enum class TransitionSet {
  kSpread,   // a fraction of the steps and the terminal transition
  kLateOne,  // one of the last steps before the terminal transition, without that
  kTerminal  // the terminal transition alone
};

// Which transitions of a trajectory are trained on; drawn before sampling, a pure function of (seed, slot).
struct TransitionChoice {
  std::int64_t num_steps = 50;
  double fraction = 0.1;   // of the steps, beside the terminal one
  bool stratified = true;  // one draw from each of equal bins; false: any distinct steps
  TransitionSet set = TransitionSet::kSpread;
  double last_fraction = 0.3;  // kLateOne: the share of the steps that is late
  bool operator==(const TransitionChoice&) const = default;
};

// That of the run's method: ReFL trains one late step, DRaFT the last one, the others a spread of them.
TransitionChoice transition_choice_of(const RunConfig& config);

// Rows of a record: the drawn transitions and the terminal one (kLateOne: the drawn one alone); fraction 1 is every step once.
std::int64_t rows_per_slot(const TransitionChoice& choice);

// Sizes of `bins` contiguous bins over `items`, by largest remainder: they differ by one at most, the larger ones first.
std::vector<std::int64_t> bin_sizes(std::int64_t items, std::int64_t bins);

// Indices into the step table, ascending; but for kLateOne, the terminal transition (num_steps - 1) once and last.
std::vector<std::int32_t> choose_transitions(const TransitionChoice& choice, std::uint64_t seed, std::int64_t slot);

// Chance of each step to be among a slot's rows [num_steps]; the terminal one's is 1, with kLateOne 0.
std::vector<double> inclusion_probabilities(const TransitionChoice& choice);

}  // namespace nabla
