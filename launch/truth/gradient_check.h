#pragma once

#include "launch/truth/truth_case.h"

#include <string>
#include <vector>

namespace nabla::truth {

// A gradient of one term of the production loss against central differences of that term.
struct GradientError {
  std::string name;       // "forward loss in theta", ...
  double relative = 0.0;  // |gradient . v - difference| / |difference| for random directions v, the largest
  double rounding = 0.0;  // of the differences themselves: what another step makes of them, relative too
};

// Each term alone, in the parameters of two small networks on rows of the case, by the stop-gradient map of docs/objectives.md: theta learns from the
// forward loss and the regulariser, phi from the reverse and the terminal loss; with flow_from_forward_loss from the forward loss too.
std::vector<GradientError> gradient_errors(const TruthCase& problem);

// What the map stops: the gradient is 0 where differences of the term, everything it is made of computed anew, are not.
struct StoppedGradient {
  std::string name;         // "forward loss in phi", ...
  double gradient = 0.0;    // the largest |gradient . v|
  double difference = 0.0;  // the smallest |difference| of the term along v
  double relative = 0.0;    // |gradient . v - difference| / |difference|, the largest: near 0 if nothing were stopped
};
std::vector<StoppedGradient> stopped_gradients(const TruthCase& problem);

// What must not agree: the forward loss's gradient in theta against differences that let theta move the reward gradient in its target too.
double moving_reward_error(const TruthCase& problem);

}  // namespace nabla::truth
