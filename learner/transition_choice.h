#pragma once

#include <cstdint>
#include <vector>

namespace nabla {

// Which transitions of a trajectory are trained on; drawn before sampling, a pure function of (seed, slot).
struct TransitionChoice {
  std::int64_t num_steps = 50;
  double fraction = 0.1;   // of the steps, beside the terminal one
  bool stratified = true;  // one draw from each of equal bins; false: any distinct steps
};

// Rows of a record: the drawn transitions and the terminal one; fraction 1 is every step once.
std::int64_t rows_per_slot(const TransitionChoice& choice);

// Sizes of `bins` contiguous bins over `items`, by largest remainder: they differ by one at most, the larger ones first.
std::vector<std::int64_t> bin_sizes(std::int64_t items, std::int64_t bins);

// Indices into the step table, ascending, the terminal transition (num_steps - 1) once and last.
std::vector<std::int32_t> choose_transitions(const TransitionChoice& choice, std::uint64_t seed, std::int64_t slot);

}  // namespace nabla
