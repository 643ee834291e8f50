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

Tensor times(const Tensor& matrices, const Tensor& vectors) { return (matrices * vectors.unsqueeze(1)).sum(2); }

}  // namespace nabla::truth
