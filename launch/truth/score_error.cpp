#include "launch/truth/score_error.h"

#include "launch/truth/experiment.h"
#include "launch/truth/line_truth.h"
#include "launch/truth/outcome.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

namespace nabla::truth {

namespace {

constexpr double kLeastAlphaBar = 0.05;

Tensor tensor_of(const GridValues& values) { return torch::tensor(values, at::kDouble).unsqueeze(1); }

// exp(log_values) up to a factor.
GridValues exponentials(GridValues log_values) {
  const double largest = *std::max_element(log_values.begin(), log_values.end());
  for (double& value : log_values) value = std::exp(value - largest);
  return log_values;
}

// E[y | x] under the reference's transition times the flow.
Tensor best_mean(const LineTruth& truth, std::size_t step, const GridValues& log_flow) {
  const GridValues flow = exponentials(log_flow);
  GridValues weighted = flow;
  for (std::size_t y = 0; y < flow.size(); ++y) weighted[y] *= truth.grid().point(y);
  const GridTransition transition = truth.reference_transition(step);
  return tensor_of(transition.pull(weighted)) / tensor_of(transition.pull(flow));
}

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
  const Tensor points = tensor_of(truth.grid().points());
  ScoreErrors errors;
  for (std::size_t step = 0; step < experiment.table.transitions.size(); ++step) {
    const Transition& transition = experiment.table.transitions[step];
    const Tensor learned = experiment.change().at(step, points);
    const Tensor law = tensor_of(truth.reference_laws()[step]) * tensor_of(exponentials(log_flows[step]));
    const Tensor best =
        (tensor_of(truth.reference_mean(step)) - best_mean(truth, step, log_flows[step + 1])) / transition.noise_coefficient;
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
