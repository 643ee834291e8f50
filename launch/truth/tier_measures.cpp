#include "launch/truth/tier_measures.h"

#include "launch/truth/gaussian_optimum.h"
#include "launch/truth/gradient_check.h"
#include "launch/truth/line_truth.h"
#include "launch/truth/score_error.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

namespace nabla::truth {

namespace {

// The chain's own end variance, and the start law N(0,1) in place of the tilted one.
Moments corrected_moments(const TruthCase& problem) {
  const StepTable table = step_table_of(problem);
  double variance = 1.0;
  for (const auto& t : table.transitions) variance = t.alpha_bar / t.alpha_bar_next * variance + t.sigma * t.sigma;
  const double start = table.transitions.front().alpha_bar, end = table.transitions.back().alpha_bar_next;
  return {problem.beta * problem.reward.slope.item<double>() * (variance - start / end), variance};
}

// Differences of a law's moments from what they should be, and of those of the exact fixed point on the grid: its floor.
void compare_moments(const TruthCase& problem, const Measurement& measurement, const Check& mean, const Check& variance,
                     const Moments& unit, Outcome& outcome) {
  judge_law(problem, measurement, {}, outcome);
  const Moments wanted = corrected_moments(problem);
  outcome.values["expected_mean"] = wanted.mean;
  outcome.values["expected_variance"] = wanted.variance;
  const auto compare = [&](Check check, const char* name, double expected, double fixed_point, double size) {
    check.floor = std::abs(fixed_point - expected) / size;
    add_check(check, std::abs(measurement.values.at(name) - expected) / size, outcome);
  };
  compare(mean, "mean", wanted.mean, measurement.fixed_point.mean, unit.mean);
  compare(variance, "variance", wanted.variance, measurement.fixed_point.variance, unit.variance);
}

}  // namespace

Check at_most(const std::string& metric, double threshold, std::optional<double> floor) {
  return {.metric = metric, .threshold = threshold, .floor = floor};
}

void add_check(Check check, double value, Outcome& outcome) {
  check.value = value;
  outcome.values[check.metric] = value;
  outcome.checks.push_back(check);
}

Measure law_within(const Known& known, const std::vector<Check>& thresholds) {
  return [known, thresholds](const TruthCase& problem, Outcome& outcome) { judge_law(problem, known->of(problem), thresholds, outcome); };
}

Measure gaussian_within(const Known& known, double tolerance) {
  return [known, tolerance](const TruthCase& problem, Outcome& outcome) {
    compare_moments(problem, known->of(problem), at_most("mean_error", tolerance), at_most("variance_error", tolerance), {1.0, 1.0},
                    outcome);
  };
}

Measure gaussian_within_share(const Known& known, double share) {
  return [known, share](const TruthCase& problem, Outcome& outcome) {
    compare_moments(problem, known->of(problem), at_most("relative_mean_error", share), at_most("relative_variance_error", share),
                    corrected_moments(problem), outcome);
  };
}

Measure half_strength_variance(const Known& known) {
  return [known](const TruthCase& problem, Outcome& outcome) {
    constexpr double kLeast = 1.8, kTruth = 2.0;
    TruthCase exact = problem;
    exact.strength_mode = StrengthMode::kExact;
    const double floor = gaussian_optimum(exact, step_table_of(exact), FlowScore::kLearned).variance;
    const Measurement& measurement = known->of(problem);
    judge_law(problem, measurement, {}, outcome);
    const double variance = measurement.values.at("variance");
    outcome.values["variance_with_exact_flow"] = gaussian_optimum(exact, step_table_of(exact), FlowScore::kExact).variance;
    add_check({.metric = "variance", .threshold = kLeast, .floor = floor, .bound = Bound::kAtLeast}, variance, outcome);
    add_check(at_most("variance_error", kTruth - kLeast, std::abs(floor - kTruth)), std::abs(variance - kTruth), outcome);
  };
}

void measure_scores(const TruthCase& problem, Outcome& outcome) {
  constexpr double kLeastAlphaBar = 0.05;
  const ScoreErrors errors = score_errors(problem);
  outcome.values["score_error_continuous"] = *std::max_element(errors.continuous.begin(), errors.continuous.end());
  for (const double least : {0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99}) {
    const auto level = std::find_if(errors.alpha_bar.begin(), errors.alpha_bar.end(), [&](double a) { return a > least; });
    if (level == errors.alpha_bar.end()) break;
    outcome.values[fmt::format("score_error_at_{:.3f}", *level)] =
        errors.relative[static_cast<std::size_t>(level - errors.alpha_bar.begin())];
  }
  add_check(at_most("score_error", 0.1, worst_above(errors, errors.floor, kLeastAlphaBar)),
            worst_above(errors, errors.relative, kLeastAlphaBar), outcome);
}

Measure identity_within(MeanJacobian kind) {
  return [kind](const TruthCase& problem, Outcome& outcome) {
    // Finer than sums need: differences between the grid's points err too. What the true identity leaves on a still finer grid is the floor.
    constexpr double kRefinement = 2.0, kFloorRefinement = 3.0;
    const StepTable table = step_table_of(problem);
    const ReferenceModel reference(problem.prior, table);
    const auto error_at = [&](double refinement, MeanJacobian jacobian) {
      return adjoint_identity_error(LineTruth(problem, table, reference, refinement), table, reference, jacobian);
    };
    add_check(at_most("relative_error", 1e-4, error_at(kFloorRefinement, MeanJacobian::kTrue)), error_at(kRefinement, kind), outcome);
  };
}

void measure_gradients(const TruthCase& problem, Outcome& outcome) {
  for (const auto& error : gradient_errors(problem)) add_check(at_most(error.name, 1e-6, error.rounding), error.relative, outcome);
  for (const auto& stopped : stopped_gradients(problem)) {
    outcome.values["difference of the " + stopped.name] = stopped.difference;
    add_check(at_most("no gradient of the " + stopped.name, 1e-12, 0.0), stopped.gradient, outcome);
  }
}

Measure stopped_gradient_counted(std::size_t which) {
  return [which](const TruthCase& problem, Outcome& outcome) {
    const StoppedGradient stopped = stopped_gradients(problem).at(which);
    add_check(at_most(stopped.name, 1e-6), stopped.relative, outcome);
  };
}

void measure_moving_reward(const TruthCase& problem, Outcome& outcome) {
  add_check(at_most("forward loss in theta", 1e-6), moving_reward_error(problem), outcome);
}

}  // namespace nabla::truth
