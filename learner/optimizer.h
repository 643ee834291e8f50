#pragma once

#include "common/diffusion/tensors.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

struct AdamWOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 1e-2;
};

// AdamW (Loshchilov and Hutter 2019) as torch.optim.AdamW computes it: decay first, then the bias-corrected step. One step a gradient.
class AdamW {
 public:
  AdamW(std::vector<Tensor> parameters, const AdamWOptions& options);
  // Of parameters and moments; equal where everything that later steps come from is equal.
  std::string digest() const;
  // Uses and keeps the gradients; parameters without one are left alone, decay included.
  void step();
  void zero_grad();
  const std::vector<Tensor>& parameters() const { return parameters_; }
  // Copies of the moments and the number of steps, in the order of the parameters; load() takes them back, data_error where they do not fit.
  TensorMap state() const;
  void load(const TensorMap& state);

 private:
  std::vector<Tensor> parameters_, first_moment_, second_moment_;
  AdamWOptions options_;
  std::int64_t steps_ = 0;
};

// Multiplies all gradients.
void scale_gradients(const std::vector<Tensor>& parameters, double factor);
// Norm of all gradients as one vector (float64), before they are scaled down to max_norm as torch.nn.utils.clip_grad_norm_ does.
double clip_grad_norm(const std::vector<Tensor>& parameters, double max_norm);

}  // namespace nabla
