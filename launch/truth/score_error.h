#pragma once

#include "launch/truth/truth_case.h"

#include <vector>

namespace nabla::truth {

// Of a trained case on the line, by level: |learned - best| / |best| for the change eps_theta - eps#, in the mean square under the law that the
// best policy visits.
struct ScoreErrors {
  std::vector<double> relative;    // against the chain's own optimum, which moves each state to E[y|x] under its target
  std::vector<double> continuous;  // against -sqrt(1-a) (d log p*_a - d log p_a), which no finite chain has
  double worst = 0.0;              // of `relative` where alpha-bar is above 0.05
};
ScoreErrors score_errors(const TruthCase& problem);

}  // namespace nabla::truth
