#pragma once

#include "launch/truth/truth_case.h"

#include <string>
#include <vector>

namespace nabla::truth {

// A gradient of the production loss against central differences of the terms that it should be the gradient of.
struct GradientError {
  std::string name;       // "policy", "flow", "flow, release's map", ...
  double relative = 0.0;  // |gradient . v - difference| / |difference| for random directions v, the largest
};

// Gradients in theta and phi of two small networks on rows of the case, each by the stop-gradient map of docs/truth.md: theta learns from the
// forward loss and the regulariser, phi from the reverse and the terminal loss; with flow_from_forward_loss from the forward loss too.
std::vector<GradientError> gradient_errors(const TruthCase& problem);
// What must not agree: phi's gradient against differences that count the forward loss in, without flow_from_forward_loss.
double wrong_map_error(const TruthCase& problem);

}  // namespace nabla::truth
