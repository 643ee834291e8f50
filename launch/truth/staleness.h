#pragma once

#include "launch/truth/tier_measures.h"

#include <string>
#include <vector>

namespace nabla::truth {

// A case with stale y: what y's age may change by at most 0.01, and what every law that was learned from it has to hold.
struct StaleCase {
  std::string tier;
  TruthCase problem;
  std::vector<std::string> changing;
  std::vector<Check> thresholds;
};

// y from 2 and 8 versions ago and from the base model for ever, against y of the newest policy.
Measure stale_y(const Known& known, const StaleCase& stale);
// The scores of policy and reference belong to two different y.
Measure fresh_noise_y(const Known& known, const StaleCase& stale);

}  // namespace nabla::truth
