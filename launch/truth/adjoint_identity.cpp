#include "launch/truth/adjoint_identity.h"

#include "launch/truth/outcome.h"

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

}  // namespace

double adjoint_identity_error(const LineTruth& truth, std::int64_t steps, MeanJacobian kind) {
  const std::vector<GridValues> log_flows = truth.log_flows();
  GridValues score = truth.final_score();
  double worst = 0.0;
  for (auto step = static_cast<std::size_t>(steps); step-- > 0;) {
    score = expectation_under_flow(truth.reference_transition(step), log_flows[step + 1], score);
    const GridValues slope = kind == MeanJacobian::kTrue ? truth.reference_slope(step) : truth.state_coefficient(step);
    for (std::size_t x = 0; x < score.size(); ++x) score[x] *= slope[x];
    worst = worse(relative_error(score, derivative(truth.grid(), log_flows[step]), truth.reference_laws()[step]), worst);
  }
  return worst;
}

}  // namespace nabla::truth
