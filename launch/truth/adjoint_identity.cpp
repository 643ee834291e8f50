#include "launch/truth/adjoint_identity.h"

#include "actors/point_math.h"
#include "launch/truth/outcome.h"
#include "launch/truth/transition_rows.h"

#include <torch/types.h>

#include <cmath>

namespace nabla::truth {

namespace {

// Points of less density have no say.
constexpr double kSeen = 1e-6;

// Central differences of sixth order; the three outermost points stay 0.
GridValues derivative(const Grid& grid, const GridValues& values) {
  GridValues slopes(grid.size, 0.0);
  for (std::size_t i = 3; i + 3 < grid.size; ++i) {
    slopes[i] = (45.0 * (values[i + 1] - values[i - 1]) - 9.0 * (values[i + 2] - values[i - 2]) + (values[i + 3] - values[i - 3])) /
                (60.0 * grid.spacing);
  }
  return slopes;
}

double relative_error(const GridValues& found, const GridValues& expected, const GridValues& law) {
  double error = 0.0, size = 0.0;
  for (std::size_t i = 3; i + 3 < law.size(); ++i) {
    if (law[i] < kSeen) continue;
    error += law[i] * std::pow(found[i] - expected[i], 2);
    size += law[i] * std::pow(expected[i], 2);
  }
  return std::sqrt(error / size);
}

// J' times `cotangent` for the reference's mean, by an actor's code.
Tensor pulled_back(const StepTable& table, const ReferenceModel& reference, std::size_t step, const Tensor& points,
                   const Tensor& cotangent) {
  const RowCoefficients coefficients = row_coefficients(table, {static_cast<std::int32_t>(step)}, at::kDouble, false);
  const Tensor x = as_latents(points).requires_grad_(true);
  const Tensor eps = as_latents(reference.eps(step, as_points(x)));
  return as_points(pull_back_mean(coefficients, x, eps, as_latents(cotangent), false));
}

}  // namespace

double adjoint_identity_error(const LineTruth& truth, const StepTable& table, const ReferenceModel& reference, MeanJacobian kind) {
  const std::vector<GridValues> log_flows = truth.log_flows();
  const Tensor points = column_of(truth.grid().points());
  GridValues score = truth.final_score();
  double worst = 0.0;
  for (std::size_t step = table.transitions.size(); step-- > 0;) {
    const Tensor expected = column_of(expectation_under_flow(truth.reference_transition(step), log_flows[step + 1], score));
    score = values_of(kind == MeanJacobian::kTrue ? pulled_back(table, reference, step, points, expected)
                                                  : table.transitions[step].x_coefficient * expected);
    worst = worse(relative_error(score, derivative(truth.grid(), log_flows[step]), truth.reference_laws()[step]), worst);
  }
  return worst;
}

}  // namespace nabla::truth
