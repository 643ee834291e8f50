#pragma once

#include "launch/truth/grid_chain.h"
#include "launch/truth/truth_case.h"

namespace nabla::truth {

// Where the forward loss takes the residual flow's score from.
enum class FlowScore {
  kLearned,  // what the reverse loss makes of the policy one step later: the scheme's own fixed point
  kExact,    // of the law that is asked for, noised
};

// Mean and variance of the final law of an exact learner whose steps keep their variance, in closed form: prior N(0,1) on the line, linear reward, any
// pretrained_strength in its exact form. Everything is linear there: the policy's mean at x is a x + b, the residual flow's score p x + q.
Moments gaussian_optimum(const TruthCase& problem, const StepTable& table, FlowScore flow);

}  // namespace nabla::truth
