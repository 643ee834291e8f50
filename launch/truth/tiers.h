#pragma once

#include "launch/truth/trial.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nabla::truth {

// Names of the tiers of docs/truth.md, in order.
const std::vector<std::string>& tier_names();

// The cases and controls of these tiers, each once a seed. usage_error on a name that is no tier.
std::vector<Trial> trials_of(const std::vector<std::string>& tiers, const std::vector<std::uint64_t>& seeds);

// Seeds of the whole table.
const std::vector<std::uint64_t>& table_seeds();

// The subset that every build runs: T0, T7, T8, and T1 with its FL-only control.
std::vector<Trial> quick_trials(std::uint64_t seed);

}  // namespace nabla::truth
