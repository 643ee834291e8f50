#include "launch/truth/mlp_field.h"

#include <torch/types.h>

#include <cmath>

namespace nabla::truth {

namespace {

constexpr std::int64_t kHidden = 64;

// log(a / (1-a)) of a level, scaled to about -1 .. 1, with waves of it.
std::vector<double> level_features(double alpha_bar) {
  const double place = std::log(alpha_bar / (1.0 - alpha_bar)) / 8.0;
  std::vector<double> features{place};
  for (const double frequency : {1.0, 2.0, 4.0, 8.0}) {
    features.push_back(std::sin(frequency * 2.0 * place));
    features.push_back(std::cos(frequency * 2.0 * place));
  }
  return features;
}

Tensor random_matrix(std::int64_t rows, std::int64_t columns, Philox& stream) {
  const Tensor matrix = at::empty({rows, columns}, at::kDouble);
  const double scale = 1.0 / std::sqrt(static_cast<double>(rows));
  for (double* value = matrix.data_ptr<double>(); value != matrix.data_ptr<double>() + matrix.numel(); ++value)
    *value = scale * stream.normal();
  return matrix;
}

}  // namespace

MlpField::MlpField(const StepTable& table, const ReferenceModel& reference, std::vector<double> scales, std::int64_t dimensions,
                   Philox stream)
    : table_(table), reference_(reference), scales_(torch::tensor(scales, at::kDouble).unsqueeze(1)) {
  std::vector<Tensor> levels;
  for (const auto& transition : table.transitions) levels.push_back(torch::tensor(level_features(transition.alpha_bar), at::kDouble));
  levels.push_back(torch::tensor(level_features(table.transitions.back().alpha_bar_next), at::kDouble));
  level_features_ = at::stack(levels);
  const std::int64_t inputs = dimensions * (2 + dimensions) + level_features_.size(1);
  parameters_ = {random_matrix(inputs, kHidden, stream),        at::zeros({kHidden}, at::kDouble),
                 random_matrix(kHidden, kHidden, stream),       at::zeros({kHidden}, at::kDouble),
                 at::zeros({kHidden, dimensions}, at::kDouble), at::zeros({dimensions}, at::kDouble)};
  for (auto& parameter : parameters_) parameter.requires_grad_(true);
}

Tensor MlpField::at(std::size_t level, const Tensor& x) const {
  return at_features(at::full({x.size(0)}, static_cast<std::int64_t>(level), at::kLong), features(level, x));
}

Tensor MlpField::features(std::size_t level, const Tensor& x) const {
  const Tensor place = level_features_.select(0, static_cast<std::int64_t>(level)).expand({x.size(0), -1});
  const Tensor unmoved = at::eye(x.size(1), at::kDouble).flatten().expand({x.size(0), -1});
  // The final state has no noise left to predict.
  if (level == table_.transitions.size()) return at::cat({x, x, unmoved, place}, 1);
  const Transition& transition = table_.transitions[level];
  const auto prediction = reference_.predict(level, x);
  // sqrt(a) d clean / dx = 1 - sqrt(1-a) d eps / dx, which stays within bounds at every level.
  const Tensor moves = unmoved - std::sqrt(1.0 - transition.alpha_bar) * prediction.jacobian.flatten(1);
  return at::cat({x, predict_clean(transition, x, prediction.eps), moves, place}, 1);
}

Tensor MlpField::at_features(const Tensor& level, const Tensor& features) const {
  const auto& p = parameters_;
  const Tensor hidden = at::silu(at::addmm(p[1], features, p[0]));
  return at::addmm(p[5], at::silu(at::addmm(p[3], hidden, p[2])), p[4]) * scales_.index_select(0, level);
}

}  // namespace nabla::truth
