#pragma once

#include "launch/truth/truth_case.h"

#include <vector>

namespace nabla::truth {

// Of a trained case, by level: |learned - best| / |best| for the change eps_theta - eps#, in the mean square under the law that the best policy
// visits.
struct ScoreErrors {
  std::vector<double> alpha_bar;
  std::vector<double> relative;    // against the chain's own optimum, which moves each state to E[y|x] under its target
  std::vector<double> continuous;  // against -sqrt(1-a) (d log p*_a - d log p_a), which no finite chain has
  // Of what needs no training: on the line the scheme's exact fixed point, in the plane the optimum itself as a table of the learner's nodes.
  std::vector<double> floor;
};
ScoreErrors score_errors(const TruthCase& problem);

// The largest where alpha-bar is above `least`.
double worst_above(const ScoreErrors& errors, const std::vector<double>& values, double least);

}  // namespace nabla::truth
