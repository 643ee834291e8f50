#include "learner/lion.h"

#include <torch/types.h>

namespace nabla {

Lion::Lion(std::vector<Tensor> parameters, const LionOptions& options)
    : Optimizer(std::move(parameters), {"momentum"}), options_(options) {}

void Lion::move(Tensor& parameter, const Tensor& gradient, std::vector<Tensor>& moments, double lr_factor) {
  const double lr = lr_factor * options_.lr;
  Tensor& momentum = moments.front();
  const Tensor direction = momentum.lerp(gradient, 1.0 - options_.beta1).sign_();
  if (options_.weight_decay != 0.0) parameter.mul_(1.0 - lr * options_.weight_decay);
  parameter.add_(direction, -lr);
  momentum.lerp_(gradient, 1.0 - options_.beta2);
}

}  // namespace nabla
