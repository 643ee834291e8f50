#include "launch/truth/score_error.h"

#include "launch/truth/experiment.h"
#include "launch/truth/line_truth.h"
#include "launch/truth/outcome.h"

#include <torch/types.h>

#include <cmath>

namespace nabla::truth {

namespace {

constexpr double kLeastAlphaBar = 0.05;

double relative_error(const Tensor& found, const Tensor& best, const Tensor& law) {
  const Tensor seen = law > 1e-9 * law.max();
  const auto square = [&](const Tensor& field) { return (law * field.square()).masked_select(seen).sum().item<double>(); };
  return std::sqrt(square(found - best) / square(best));
}

}  // namespace

ScoreErrors score_errors(const TruthCase& problem) {
  Experiment experiment(problem);
  experiment.train();
  const at::NoGradGuard no_grad;
  const LineTruth truth(problem, experiment.table, experiment.reference);
  const std::vector<GridValues> log_flows = truth.log_flows();
  const Tensor points = column_of(truth.grid().points());
  ScoreErrors errors;
  for (std::size_t step = 0; step < experiment.table.transitions.size(); ++step) {
    const Transition& transition = experiment.table.transitions[step];
    const Tensor learned = experiment.change().at(step, points);
    const Tensor law = column_of(truth.reference_laws()[step]) * column_of(exponentials(log_flows[step]));
    const GridValues best_mean = expectation_under_flow(truth.reference_transition(step), log_flows[step + 1], truth.grid().points());
    const Tensor best = (column_of(truth.reference_mean(step)) - column_of(best_mean)) / transition.noise_coefficient;
    const double a = transition.alpha_bar;
    const Tensor score =
        MixtureDensity(noised(exact_law(problem), a)).score(points) - MixtureDensity(noised(problem.prior, a)).score(points);
    errors.relative.push_back(relative_error(learned, best, law));
    errors.continuous.push_back(relative_error(learned, -std::sqrt(1.0 - a) * score, law));
    if (a > kLeastAlphaBar) errors.worst = worse(errors.relative.back(), errors.worst);
  }
  return errors;
}

}  // namespace nabla::truth
