#include "launch/truth/score_error.h"

#include "launch/truth/experiment.h"
#include "launch/truth/line_truth.h"
#include "launch/truth/outcome.h"
#include "launch/truth/plane_truth.h"

#include <torch/types.h>

#include <cmath>

namespace nabla::truth {

namespace {

// The chain's optimum at P points, and the law of its states up to a factor.
struct Optimum {
  Tensor points;               // [P,d]
  std::vector<Tensor> change;  // by level: eps - eps# [P,d]
  std::vector<Tensor> law;     // by level: [P]
  std::vector<Tensor> floor;   // by level: a change that no training gets nearer than [P,d]
};

// What moves states from the reference's mean to this one.
Tensor change_to(const Tensor& mean, const Experiment& experiment, std::size_t step, const Tensor& points) {
  const Transition& transition = experiment.table.transitions[step];
  const Tensor reference = transition_mean(experiment.table, transition, points, experiment.reference.eps(step, points));
  return (reference - mean) / transition.noise_coefficient;
}

Optimum optimum_on_line(const Experiment& experiment) {
  const LineTruth truth(experiment.problem, experiment.table, experiment.reference);
  const std::vector<GridValues> log_flows = truth.log_flows(), fixed_point = truth.fixed_point_means();
  Optimum best{.points = column_of(truth.grid().points()), .change = {}, .law = {}, .floor = {}};
  for (std::size_t step = 0; step < experiment.table.transitions.size(); ++step) {
    const GridValues mean = expectation_under_flow(truth.reference_transition(step), log_flows[step + 1], truth.grid().points());
    best.change.push_back(change_to(column_of(mean), experiment, step, best.points));
    best.law.push_back((column_of(truth.reference_laws()[step]) * column_of(exponentials(log_flows[step]))).squeeze(1));
    best.floor.push_back(change_to(column_of(fixed_point[step]), experiment, step, best.points));
  }
  return best;
}

// Values of the grid's points as the table of a level would hold them, at those points again.
Tensor through_table(const Grid& grid, const Tensor& values, const TableAxis& axis, const Tensor& points) {
  TableField fine({{grid.low, -grid.low, static_cast<std::int64_t>(grid.size)}}, values.size(1)), coarse({axis}, values.size(1));
  fine.set_values(0, values);
  coarse.set_values(0, fine.at(0, cover_of(axis, values.size(1))));
  return coarse.at(0, points);
}

// The law of states under the reference is the prior's, noised: as near as a weight needs it.
Optimum optimum_in_plane(const Experiment& experiment) {
  const PlaneTruth truth(experiment.problem, experiment.table, experiment.reference);
  const auto levels = truth.levels();
  const auto axes = axes_of(experiment.problem, experiment.table);
  Optimum best{.points = truth.points(), .change = {}, .law = {}, .floor = {}};
  for (std::size_t step = 0; step < levels.size(); ++step) {
    best.change.push_back(change_to(levels[step].best_mean, experiment, step, best.points));
    const MixtureDensity density(noised(experiment.problem.prior, experiment.table.transitions[step].alpha_bar));
    best.law.push_back((density.log_density(best.points) + levels[step].log_flow).softmax(0));
    best.floor.push_back(through_table(truth.axis(), best.change.back(), axes[step], best.points));
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
    errors.alpha_bar.push_back(a);
    const Tensor learned = experiment.change().at(step, best.points);
    errors.relative.push_back(relative_error(learned, best.change[step], best.law[step]));
    errors.continuous.push_back(relative_error(learned, -std::sqrt(1.0 - a) * score, best.law[step]));
    errors.floor.push_back(relative_error(best.floor[step], best.change[step], best.law[step]));
  }
  return errors;
}

double worst_above(const ScoreErrors& errors, const std::vector<double>& values, double least) {
  double worst = 0.0;
  for (std::size_t step = 0; step < values.size(); ++step)
    if (errors.alpha_bar[step] > least) worst = worse(values[step], worst);
  return worst;
}

}  // namespace nabla::truth
