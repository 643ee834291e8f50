#include "launch/truth/plane_truth.h"

#include "launch/truth/transition_rows.h"

#include <torch/types.h>

#include <array>

namespace nabla::truth {

namespace {

constexpr std::int64_t kNoiseOrder = 8;

// Catmull and Rom's cubic for a place `t` in [0,1] between the second and the third of four points.
std::array<Tensor, 4> cubic_shares(const Tensor& t) {
  return {((-0.5 * t + 1.0) * t - 0.5) * t, (1.5 * t - 2.5) * t * t + 1.0, ((-1.5 * t + 2.0) * t + 0.5) * t, (0.5 * t - 0.5) * t * t};
}

}  // namespace

PlaneTruth::PlaneTruth(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference, double reach, std::int64_t nodes)
    : problem_(problem),
      table_(table),
      reference_(reference),
      low_(-reach),
      spacing_(2.0 * reach / static_cast<double>(nodes - 1)),
      nodes_(nodes) {
  const Tensor axis = at::linspace(-reach, reach, nodes, at::kDouble);
  points_ = at::stack({axis.repeat_interleave(nodes), axis.repeat({nodes})}, 1);
}

// Values of the grid's points [P] at any x [R,2]; what is beyond the grid takes its edge's.
Tensor PlaneTruth::interpolate(const Tensor& values, const Tensor& x) const {
  const Tensor place = ((x - low_) / spacing_).clamp(0.0, static_cast<double>(nodes_ - 1));
  const Tensor left = place.floor().clamp(0, nodes_ - 2), node = left.to(at::kLong);
  const auto rows = cubic_shares((place - left).select(1, 0)), columns = cubic_shares((place - left).select(1, 1));
  Tensor sum = at::zeros({x.size(0)}, at::kDouble);
  for (std::int64_t i = 0; i < 4; ++i) {
    const Tensor row = (node.select(1, 0) + (i - 1)).clamp(0, nodes_ - 1) * nodes_;
    for (std::int64_t j = 0; j < 4; ++j) {
      const Tensor column = (node.select(1, 1) + (j - 1)).clamp(0, nodes_ - 1);
      sum = sum + rows[static_cast<std::size_t>(i)] * columns[static_cast<std::size_t>(j)] * values.index_select(0, row + column);
    }
  }
  return sum;
}

PlaneTruth::Weighing PlaneTruth::weigh(std::size_t step, const Tensor& later) const {
  const NoisePoints noise = gauss_hermite(kNoiseOrder, 2);
  const Transition& transition = table_.transitions[step];
  const Tensor mean = transition_mean(table_, transition, points_, reference_.eps(step, points_));
  const Tensor y = mean.unsqueeze(0) + transition.sigma * noise.points.unsqueeze(1);
  // The last level is known everywhere.
  const Tensor flat = y.reshape({-1, 2});
  const bool is_last = step + 1 == table_.transitions.size();
  const Tensor flow = is_last ? problem_.beta * log_reward(problem_.reward, flat) : interpolate(later, flat);
  return {y, noise.weights.log().unsqueeze(1) + flow.view({y.size(0), y.size(1)})};
}

std::vector<Tensor> PlaneTruth::log_flows() const {
  std::vector<Tensor> levels(table_.transitions.size() + 1);
  levels.back() = problem_.beta * log_reward(problem_.reward, points_);
  for (std::size_t step = table_.transitions.size(); step-- > 0;) levels[step] = weigh(step, levels[step + 1]).share.logsumexp(0);
  return levels;
}

Tensor PlaneTruth::best_mean(std::size_t step, const Tensor& later) const {
  const Weighing weighing = weigh(step, later);
  return (weighing.share.softmax(0).unsqueeze(2) * weighing.y).sum(0);
}

}  // namespace nabla::truth
