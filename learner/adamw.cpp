#include "learner/adamw.h"

#include <torch/types.h>

#include <cmath>

namespace nabla {

AdamW::AdamW(std::vector<Tensor> parameters, const AdamWOptions& options)
    : Optimizer(std::move(parameters), {"first_moment", "second_moment"}), options_(options) {}

void AdamW::move(Tensor& parameter, const Tensor& gradient, std::vector<Tensor>& moments, double lr_factor) {
  const double lr = lr_factor * options_.lr;
  const double correction1 = 1.0 - std::pow(options_.beta1, static_cast<double>(steps()));
  const double correction2 = std::sqrt(1.0 - std::pow(options_.beta2, static_cast<double>(steps())));
  if (options_.weight_decay != 0.0) parameter.mul_(1.0 - lr * options_.weight_decay);
  moments[0].lerp_(gradient, 1.0 - options_.beta1);
  moments[1].mul_(options_.beta2).addcmul_(gradient, gradient, 1.0 - options_.beta2);
  const Tensor denominator = (moments[1].sqrt() / correction2).add_(options_.epsilon);
  parameter.addcdiv_(moments[0], denominator, -lr / correction1);
}

}  // namespace nabla
