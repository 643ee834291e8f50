#pragma once

#include "learner/optimizer.h"

namespace nabla {

struct AdamWOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 1e-2;
};

// AdamW (Loshchilov and Hutter 2019) as torch.optim.AdamW computes it: decay first, then the bias-corrected step.
class AdamW : public Optimizer {
 public:
  AdamW(std::vector<Tensor> parameters, const AdamWOptions& options);

 private:
  void move(Tensor& parameter, const Tensor& gradient, std::vector<Tensor>& moments, double lr_factor) override;

  const AdamWOptions options_;
};

}  // namespace nabla
