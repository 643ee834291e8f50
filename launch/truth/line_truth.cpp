#include "launch/truth/line_truth.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nabla::truth {

namespace {

Grid grid_of(const TruthCase& problem, const StepTable& table, double refinement) {
  constexpr double kStartReach = 7.0, kDeviations = 7.0;
  double finest = 1.0, reach = kStartReach;
  for (const auto& transition : table.transitions) finest = std::min(finest, transition.sigma);
  for (const Mixture& law : {problem.prior, exact_law(problem)}) {
    const Tensor ends = law.means.flatten().abs() + kDeviations * law.covariances.flatten().sqrt();
    reach = std::max(reach, ends.max().item<double>());
  }
  return make_grid(reach, finest / refinement);
}

}  // namespace

Tensor column_of(const GridValues& values) { return torch::tensor(values, at::kDouble).unsqueeze(1); }

GridValues values_of(const Tensor& column) {
  const Tensor flat = column.detach().flatten().contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

LineTruth::LineTruth(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference, double refinement)
    : problem_(problem),
      table_(table),
      reference_(reference),
      grid_(grid_of(problem, table, refinement)),
      points_(column_of(grid_.points())) {
  std::vector<GridValues> means;
  for (std::size_t step = 0; step < table.transitions.size(); ++step) means.push_back(reference_mean(step));
  reference_laws_ = run(means);
  const GridValues tilt = exponentials(values_of(problem.beta * log_reward(problem.reward, points_)));
  target_ = reference_laws_.back();
  for (std::size_t i = 0; i < grid_.size; ++i) target_[i] = std::pow(target_[i], problem.pretrained_strength) * tilt[i];
  target_ = normalised(grid_, target_);
}

// From the start N(0,1) through transitions of these means: N + 1 laws.
std::vector<GridValues> LineTruth::run(const std::vector<GridValues>& means) const {
  GridValues density(grid_.size);
  for (std::size_t i = 0; i < grid_.size; ++i)
    density[i] = std::exp(-0.5 * grid_.point(i) * grid_.point(i)) / std::sqrt(2.0 * std::numbers::pi);
  std::vector<GridValues> laws{normalised(grid_, density)};
  for (std::size_t step = 0; step < means.size(); ++step)
    laws.push_back(GridTransition(grid_, means[step], table_.transitions[step].sigma).push(laws.back()));
  return laws;
}

GridValues LineTruth::final_law(const Field& change) const {
  const at::NoGradGuard no_grad;
  std::vector<GridValues> means;
  for (std::size_t step = 0; step < table_.transitions.size(); ++step) {
    const Tensor eps = reference_.eps(step, points_) + change.at(step, points_);
    means.push_back(values_of(transition_mean(table_, table_.transitions[step], points_, eps)));
  }
  return run(means).back();
}

GridValues LineTruth::reference_mean(std::size_t step) const {
  return values_of(transition_mean(table_, table_.transitions[step], points_, reference_.eps(step, points_)));
}

GridValues LineTruth::reference_slope(std::size_t step) const {
  const Transition& transition = table_.transitions[step];
  return values_of(transition.x_coefficient - transition.noise_coefficient * reference_.predict(step, points_).jacobian);
}

GridTransition LineTruth::reference_transition(std::size_t step) const {
  return {grid_, reference_mean(step), table_.transitions[step].sigma};
}

GridValues LineTruth::final_score() const { return values_of(problem_.beta * reward_gradient(problem_.reward, points_)); }

std::vector<GridValues> LineTruth::log_flows() const {
  std::vector<GridValues> levels(table_.transitions.size() + 1);
  levels.back() = values_of(problem_.beta * log_reward(problem_.reward, points_));
  for (std::size_t step = table_.transitions.size(); step-- > 0;) {
    const double largest = *std::max_element(levels[step + 1].begin(), levels[step + 1].end());
    levels[step] = reference_transition(step).pull(exponentials(levels[step + 1]));
    for (double& value : levels[step]) value = std::log(value) + largest;
  }
  return levels;
}

// mean = mean# + sigma^2 E_{N(mean, sigma^2)}[s~(y)], then s~(x) = slope# (mean - mean#) / sigma^2 (docs/truth.md).
std::vector<GridValues> LineTruth::fixed_point_means() const {
  constexpr int kIterations = 25;
  constexpr double kSettled = 1e-10;
  std::vector<GridValues> means(table_.transitions.size());
  GridValues score = final_score();
  for (std::size_t step = table_.transitions.size(); step-- > 0;) {
    const double variance = std::pow(table_.transitions[step].sigma, 2);
    const GridValues reference = reference_mean(step), slope = reference_slope(step);
    GridValues mean = reference;
    double moved = 1.0;
    for (int i = 0; i < kIterations && moved > kSettled; ++i) {
      const GridValues pulled = GridTransition(grid_, mean, table_.transitions[step].sigma).pull(score);
      moved = 0.0;
      for (std::size_t x = 0; x < grid_.size; ++x) {
        const double next = reference[x] + variance * pulled[x];
        moved = std::max(moved, std::abs(next - mean[x]));
        mean[x] = next;
      }
    }
    for (std::size_t x = 0; x < grid_.size; ++x) score[x] = slope[x] * (mean[x] - reference[x]) / variance;
    means[step] = mean;
  }
  return means;
}

GridValues LineTruth::fixed_point_law() const { return run(fixed_point_means()).back(); }

}  // namespace nabla::truth
