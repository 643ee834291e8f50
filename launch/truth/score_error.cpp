#include "launch/truth/score_error.h"

#include "launch/truth/experiment.h"
#include "launch/truth/line_truth.h"
#include "launch/truth/outcome.h"
#include "launch/truth/plane_truth.h"

#include <torch/types.h>

#include <cmath>

namespace nabla::truth {

namespace {

constexpr double kLeastAlphaBar = 0.05;

// The chain's optimum, and the law of its states up to a factor. P points.
struct Optimum {
  Tensor points;               // [P,d]
  std::vector<Tensor> change;  // a level: eps - eps# [P,d]
  std::vector<Tensor> law;     // a level: [P]
};

Tensor change_to(const Tensor& best_mean, const Experiment& experiment, std::size_t step, const Tensor& points) {
  const Transition& transition = experiment.table.transitions[step];
  const Tensor mean = transition_mean(experiment.table, transition, points, experiment.reference.eps(step, points));
  return (mean - best_mean) / transition.noise_coefficient;
}

Optimum optimum_on_line(const Experiment& experiment) {
  const LineTruth truth(experiment.problem, experiment.table, experiment.reference);
  const std::vector<GridValues> log_flows = truth.log_flows();
  Optimum best{.points = column_of(truth.grid().points()), .change = {}, .law = {}};
  for (std::size_t step = 0; step < experiment.table.transitions.size(); ++step) {
    const GridValues mean = expectation_under_flow(truth.reference_transition(step), log_flows[step + 1], truth.grid().points());
    best.change.push_back(change_to(column_of(mean), experiment, step, best.points));
    best.law.push_back((column_of(truth.reference_laws()[step]) * column_of(exponentials(log_flows[step]))).squeeze(1));
  }
  return best;
}

// The law of states under the reference is the prior's, noised: as near as a weight needs it.
Optimum optimum_in_plane(const Experiment& experiment) {
  const PlaneTruth truth(experiment.problem, experiment.table, experiment.reference);
  const std::vector<Tensor> log_flows = truth.log_flows();
  Optimum best{.points = truth.points(), .change = {}, .law = {}};
  for (std::size_t step = 0; step < experiment.table.transitions.size(); ++step) {
    best.change.push_back(change_to(truth.best_mean(step, log_flows[step + 1]), experiment, step, best.points));
    const MixtureDensity density(noised(experiment.problem.prior, experiment.table.transitions[step].alpha_bar));
    best.law.push_back((density.log_density(best.points) + log_flows[step]).softmax(0));
  }
  return best;
}

double relative_error(const Tensor& found, const Tensor& best, const Tensor& law) {
  const Tensor seen = law > 1e-9 * law.max();
  const auto square = [&](const Tensor& field) { return (law * field.square().sum(1)).masked_select(seen).sum().item<double>(); };
  return std::sqrt(square(found - best) / square(best));
}

}  // namespace

ScoreErrors score_errors(const TruthCase& problem) {
  Experiment experiment(problem);
  experiment.train();
  const at::NoGradGuard no_grad;
  const Optimum best = problem.dimensions() == 1 ? optimum_on_line(experiment) : optimum_in_plane(experiment);
  ScoreErrors errors;
  for (std::size_t step = 0; step < experiment.table.transitions.size(); ++step) {
    const double a = experiment.table.transitions[step].alpha_bar;
    const Tensor score =
        MixtureDensity(noised(exact_law(problem), a)).score(best.points) - MixtureDensity(noised(problem.prior, a)).score(best.points);
    const Tensor learned = experiment.change().at(step, best.points);
    errors.relative.push_back(relative_error(learned, best.change[step], best.law[step]));
    errors.continuous.push_back(relative_error(learned, -std::sqrt(1.0 - a) * score, best.law[step]));
    if (a > kLeastAlphaBar) errors.worst = worse(errors.relative.back(), errors.worst);
  }
  return errors;
}

}  // namespace nabla::truth
