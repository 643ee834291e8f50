#include "launch/truth/grid_chain.h"

#include <algorithm>
#include <cmath>

namespace nabla::truth {

namespace {

constexpr double kReachSigmas = 8.5;     // of a Gaussian that a sum covers
constexpr double kPointsPerSigma = 1.6;  // the sum of a Gaussian is then exact to exp(-2 pi^2 1.6^2), 1e-22

}  // namespace

GridValues Grid::points() const {
  GridValues values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = point(i);
  return values;
}

Grid make_grid(double reach, double finest) {
  Grid grid;
  grid.size = static_cast<std::size_t>(std::ceil(2.0 * reach * kPointsPerSigma / finest)) + 1;
  grid.low = -reach;
  grid.spacing = 2.0 * reach / static_cast<double>(grid.size - 1);
  return grid;
}

GridTransition::GridTransition(const Grid& grid, GridValues mean, double sigma) : grid_(grid), mean_(std::move(mean)), sigma_(sigma) {}

// Calls visit(y, weight) for the points that x goes to; the weights sum to 1.
template <class Visit>
void GridTransition::visit_row(std::size_t x, Visit visit) const {
  const double last = static_cast<double>(grid_.size - 1);
  // A mean beyond the grid ends at its edge.
  const double center = std::clamp((mean_[x] - grid_.low) / grid_.spacing, 0.0, last);
  const double reach = kReachSigmas * sigma_ / grid_.spacing;
  const auto first = static_cast<std::size_t>(std::max(0.0, std::floor(center - reach)));
  const auto end = static_cast<std::size_t>(std::min(last, std::ceil(center + reach))) + 1;
  const double scale = grid_.spacing / sigma_;
  thread_local std::vector<double> weights;
  weights.resize(end - first);
  double sum = 0.0;
  for (std::size_t y = first; y < end; ++y) {
    const double z = (static_cast<double>(y) - center) * scale;
    sum += weights[y - first] = std::exp(-0.5 * z * z);
  }
  for (std::size_t y = first; y < end; ++y) visit(y, weights[y - first] / sum);
}

GridValues GridTransition::push(const GridValues& density) const {
  GridValues pushed(grid_.size, 0.0);
  for (std::size_t x = 0; x < grid_.size; ++x) {
    if (density[x] != 0.0) visit_row(x, [&](std::size_t y, double weight) { pushed[y] += density[x] * weight; });
  }
  return pushed;
}

GridValues GridTransition::pull(const GridValues& values) const {
  GridValues pulled(grid_.size, 0.0);
  for (std::size_t x = 0; x < grid_.size; ++x) visit_row(x, [&](std::size_t y, double weight) { pulled[x] += values[y] * weight; });
  return pulled;
}

GridValues exponentials(GridValues log_values) {
  const double largest = *std::max_element(log_values.begin(), log_values.end());
  for (double& value : log_values) value = std::exp(value - largest);
  return log_values;
}

GridValues expectation_under_flow(const GridTransition& transition, const GridValues& log_flow, const GridValues& values) {
  const GridValues flow = exponentials(log_flow);
  GridValues weighted = flow;
  for (std::size_t y = 0; y < flow.size(); ++y) weighted[y] *= values[y];
  const GridValues mass = transition.pull(flow);
  GridValues expectation = transition.pull(weighted);
  for (std::size_t x = 0; x < expectation.size(); ++x) expectation[x] /= mass[x];
  return expectation;
}

GridValues normalised(const Grid& grid, GridValues values) {
  double sum = 0.0;
  for (const double value : values) sum += value * grid.spacing;
  for (double& value : values) value /= sum;
  return values;
}

double total_variation(const Grid& grid, const GridValues& a, const GridValues& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < grid.size; ++i) sum += std::abs(a[i] - b[i]);
  return 0.5 * sum * grid.spacing;
}

Moments moments(const Grid& grid, const GridValues& density) {
  double mass = 0.0, mean = 0.0, square = 0.0;
  for (std::size_t i = 0; i < grid.size; ++i) {
    mass += density[i];
    mean += density[i] * grid.point(i);
  }
  mean /= mass;
  for (std::size_t i = 0; i < grid.size; ++i) square += density[i] * std::pow(grid.point(i) - mean, 2);
  return {mean, square / mass};
}

}  // namespace nabla::truth
