#pragma once

#include "launch/truth/experiment.h"
#include "launch/truth/grid_chain.h"

#include <map>
#include <string>

namespace nabla::truth {

// How far a trained policy is from the truth. Names: tv, mean, variance, target_mean, target_variance on the line (exact, on a grid);
// kl_weights, tv_weights, sliced_w1, mmd in the plane (of samples). A policy that ran away to no number has values that are none.
struct Measurement {
  std::map<std::string, double> values;
  std::map<std::string, double> floors;  // of the same names: what the scheme itself leaves, or chance
  Moments fixed_point;                   // of the scheme's exact fixed point; on the line, with pretrained_strength 1
  Tensor samples;                        // final states [M,d]
  Tensor weights;                        // mass of each mode [K]
};

Measurement measure(const Experiment& experiment);
Measurement train_and_measure(const TruthCase& problem);

// Name of the value that a case is judged by unless it says otherwise: tv or kl_weights.
std::string main_metric(const TruthCase& problem);

}  // namespace nabla::truth
