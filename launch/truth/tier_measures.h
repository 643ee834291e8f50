#pragma once

#include "launch/truth/adjoint_identity.h"
#include "launch/truth/known_measurements.h"
#include "launch/truth/trial.h"

#include <memory>
#include <string>
#include <vector>

namespace nabla::truth {

// What the tiers of docs/truth.md measure of a case, and hold it against.

using Measure = std::function<void(const TruthCase&, Outcome&)>;
// Shared by the trials of one call.
using Known = std::shared_ptr<KnownMeasurements>;

Check at_most(const std::string& metric, double threshold, std::optional<double> floor = {});
void add_check(Check check, double value, Outcome& outcome);

// Distances of the final law, within these thresholds.
Measure law_within(const Known& known, const std::vector<Check>& thresholds);
// Mean and variance of the final law for the prior N(0,1), with both finite-schedule corrections.
Measure gaussian_within(const Known& known, double tolerance);
// The same in shares of what they should be.
Measure gaussian_within_share(const Known& known, double share);
// Variance under half the prior's strength.
Measure half_strength_variance(const Known& known);
// By level, and the worst where alpha-bar is above 0.05.
void measure_scores(const TruthCase& problem, Outcome& outcome);
Measure identity_within(MeanJacobian kind);
void measure_gradients(const TruthCase& problem, Outcome& outcome);
// The loss code's gradient against differences of a term that the map keeps from these parameters: number `which` of stopped_gradients().
Measure stopped_gradient_counted(std::size_t which);
void measure_moving_reward(const TruthCase& problem, Outcome& outcome);

}  // namespace nabla::truth
