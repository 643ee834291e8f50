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

MlpField::MlpField(const StepTable& table, std::vector<double> scales, std::int64_t dimensions, Philox stream)
    : scales_(torch::tensor(scales, at::kDouble).unsqueeze(1)) {
  std::vector<Tensor> features;
  for (const auto& transition : table.transitions) features.push_back(torch::tensor(level_features(transition.alpha_bar), at::kDouble));
  features.push_back(torch::tensor(level_features(table.transitions.back().alpha_bar_next), at::kDouble));
  features_ = at::stack(features);
  const std::int64_t inputs = dimensions + features_.size(1);
  parameters_ = {random_matrix(inputs, kHidden, stream),        at::zeros({kHidden}, at::kDouble),
                 random_matrix(kHidden, kHidden, stream),       at::zeros({kHidden}, at::kDouble),
                 at::zeros({kHidden, dimensions}, at::kDouble), at::zeros({dimensions}, at::kDouble)};
  for (auto& parameter : parameters_) parameter.requires_grad_(true);
}

Tensor MlpField::at(std::size_t level, const Tensor& x) const {
  return at_levels(at::full({x.size(0)}, static_cast<std::int64_t>(level), at::kLong), x);
}

Tensor MlpField::at_levels(const Tensor& level, const Tensor& x) const {
  const auto& p = parameters_;
  const Tensor input = at::cat({x, features_.index_select(0, level)}, 1);
  const Tensor hidden = at::silu(at::addmm(p[1], input, p[0]));
  return at::addmm(p[5], at::silu(at::addmm(p[3], hidden, p[2])), p[4]) * scales_.index_select(0, level);
}

}  // namespace nabla::truth
