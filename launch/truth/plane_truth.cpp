#include "launch/truth/plane_truth.h"

#include "launch/truth/transition_rows.h"

#include <torch/types.h>

#include <algorithm>
#include <array>

namespace nabla::truth {

namespace {

constexpr double kReach = 4.5;
// Of the last transition, whose deviation is the smallest and whose flow is the reward, a smooth function.
constexpr std::int64_t kNoiseOrder = 5;

// Catmull and Rom's cubic for a place `t` in [0,1] between the second and the third of four points.
std::array<Tensor, 4> cubic_shares(const Tensor& t) {
  return {((-0.5 * t + 1.0) * t - 0.5) * t, (1.5 * t - 2.5) * t * t + 1.0, ((-1.5 * t + 2.0) * t + 0.5) * t, (0.5 * t - 0.5) * t * t};
}

Grid axis_of(const StepTable& table) {
  double finest = 1.0;
  for (std::size_t step = 0; step + 1 < table.transitions.size(); ++step) finest = std::min(finest, table.transitions[step].sigma);
  return make_grid(kReach, finest);
}

}  // namespace

PlaneTruth::PlaneTruth(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference)
    : problem_(problem), table_(table), reference_(reference), axis_(axis_of(table)) {
  const Tensor axis = torch::tensor(axis_.points(), at::kDouble);
  const auto size = static_cast<std::int64_t>(axis_.size);
  points_ = at::stack({axis.repeat_interleave(size), axis.repeat({size})}, 1);
}

// Values of the grid's points [P,C] at any x [R,2]; what is beyond the grid takes its edge's.
Tensor PlaneTruth::interpolate(const Tensor& values, const Tensor& x) const {
  const auto size = static_cast<std::int64_t>(axis_.size);
  const Tensor place = ((x - axis_.low) / axis_.spacing).clamp(0.0, static_cast<double>(size - 1));
  const Tensor left = place.floor().clamp(0, size - 2), node = left.to(at::kLong);
  const auto rows = cubic_shares((place - left).select(1, 0)), columns = cubic_shares((place - left).select(1, 1));
  Tensor sum = at::zeros({x.size(0), values.size(1)}, at::kDouble);
  for (std::int64_t i = 0; i < 4; ++i) {
    const Tensor row = (node.select(1, 0) + (i - 1)).clamp(0, size - 1) * size;
    for (std::int64_t j = 0; j < 4; ++j) {
      const Tensor column = (node.select(1, 1) + (j - 1)).clamp(0, size - 1);
      const Tensor share = rows[static_cast<std::size_t>(i)] * columns[static_cast<std::size_t>(j)];
      sum.addcmul_(share.unsqueeze(1), values.index_select(0, row + column));
    }
  }
  return sum;
}

// By Gauss and Hermite's points: the reward is known everywhere.
PlaneTruth::Level PlaneTruth::last_level() const {
  const std::size_t step = table_.transitions.size() - 1;
  const Transition& transition = table_.transitions[step];
  const NoisePoints noise = gauss_hermite(kNoiseOrder, 2);
  const Tensor mean = transition_mean(table_, transition, points_, reference_.eps(step, points_));
  const Tensor y = mean.unsqueeze(0) + transition.sigma * noise.points.unsqueeze(1);  // [Q,P,2]
  const Tensor reward = problem_.beta * log_reward(problem_.reward, y.reshape({-1, 2}));
  const Tensor share = noise.weights.log().unsqueeze(1) + reward.view({y.size(0), y.size(1)});
  return {share.logsumexp(0), (share.softmax(0).unsqueeze(2) * y).sum(0)};
}

// E[f(y) | mean] is a Gaussian's convolution with f, axis by axis, and depends on x through the mean alone.
PlaneTruth::Level PlaneTruth::level_before(std::size_t step, const Tensor& log_flow) const {
  const Transition& transition = table_.transitions[step];
  const auto size = static_cast<std::int64_t>(axis_.size);
  const Tensor axis = torch::tensor(axis_.points(), at::kDouble);
  const Tensor distance = (axis.unsqueeze(1) - axis.unsqueeze(0)) / transition.sigma;
  const Tensor kernel = (-0.5 * distance.square()).softmax(1), first_moment = kernel * axis.unsqueeze(0);
  const Tensor flow = (log_flow - log_flow.max()).exp().view({size, size});
  const Tensor along_rows = flow.matmul(kernel.t());
  const Tensor mass = kernel.matmul(along_rows);
  const Tensor first = first_moment.matmul(along_rows), second = kernel.matmul(flow.matmul(first_moment.t()));
  const Tensor known = at::stack({mass.log().flatten(), (first / mass).flatten(), (second / mass).flatten()}, 1);
  const Tensor mean = transition_mean(table_, transition, points_, reference_.eps(step, points_));
  const Tensor found = interpolate(known, mean);
  return {found.select(1, 0) + log_flow.max(), found.narrow(1, 1, 2)};
}

std::vector<PlaneTruth::Level> PlaneTruth::levels() const {
  const at::NoGradGuard no_grad;
  std::vector<Level> levels(table_.transitions.size());
  levels.back() = last_level();
  for (std::size_t step = levels.size() - 1; step-- > 0;) levels[step] = level_before(step, levels[step + 1].log_flow);
  return levels;
}

}  // namespace nabla::truth
