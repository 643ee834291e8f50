#pragma once

#include "learner/optimizer.h"

namespace nabla {

struct LionOptions {
  double lr = 1e-4, beta1 = 0.9, beta2 = 0.99, weight_decay = 1e-2;
};

// Lion (Chen et al. 2023, Algorithm 2): every element moves by the learning rate, in the direction of a mean of momentum and gradient.
class Lion : public Optimizer {
 public:
  Lion(std::vector<Tensor> parameters, const LionOptions& options);

 private:
  void move(Tensor& parameter, const Tensor& gradient, std::vector<Tensor>& moments, double lr_factor) override;

  const LionOptions options_;
};

}  // namespace nabla
