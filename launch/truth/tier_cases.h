#pragma once

#include "launch/truth/truth_case.h"

namespace nabla::truth {

// The problems of docs/truth.md.

// T0: prior N(0,1), log R = 0.4 x, beta 2.
TruthCase gaussian_case();
// T1: modes at -1.5 and 1.5 of deviation 0.3, log R = -x, beta 0.7.
TruthCase linear_case();
// T2: the same prior, log R = -(x - 0.5)^2 / 2, beta 4.
TruthCase quadratic_case();
// T3: three modes on a circle of radius 2, log R = -0.6 x + 0.2 y, beta 1.
TruthCase plane_case();
// T5: T0's problem with eta 0.5 and 200 steps; the truth is N(1.6, 2).
TruthCase half_strength_case();
// T0's and T1's problem for a small network; the latter is TM.
TruthCase gaussian_network_case();
TruthCase network_case();

}  // namespace nabla::truth
