#include "launch/truth/reference_model.h"

#include <torch/types.h>

#include <cmath>

namespace nabla::truth {

ReferenceModel::ReferenceModel(const Mixture& prior, const StepTable& table) {
  for (const auto& transition : table.transitions) {
    const double a = transition.alpha_bar;
    levels_.push_back({MixtureDensity(noised(prior, a)), -std::sqrt(1.0 - a)});
  }
}

Tensor ReferenceModel::eps(std::size_t level, const Tensor& x) const {
  return levels_.at(level).scale * levels_.at(level).density.score(x);
}

ReferenceModel::Prediction ReferenceModel::predict(std::size_t level, const Tensor& x) const {
  const auto derivatives = levels_.at(level).density.derivatives(x);
  return {levels_.at(level).scale * derivatives.score, levels_.at(level).scale * derivatives.hessian};
}

Tensor times(const Tensor& matrices, const Tensor& vectors) {
  // Column by column: sums over a last dimension of one or two are slow.
  Tensor sum = matrices.select(2, 0) * vectors.narrow(1, 0, 1);
  for (std::int64_t j = 1; j < vectors.size(1); ++j) sum = sum + matrices.select(2, j) * vectors.narrow(1, j, 1);
  return sum;
}

}  // namespace nabla::truth
