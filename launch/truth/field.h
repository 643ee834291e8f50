#pragma once

#include "common/diffusion/tensors.h"

#include <cstddef>

namespace nabla::truth {

// A learned vector field of every state of the chain: what stands for a network here. Level j is the state before transition j, level N the
// final one. The policy predicts eps# + field, the residual flow's correction is a field itself.
class Field {
 public:
  virtual ~Field() = default;
  // x [R,d] -> [R,d]; gradients flow to x, and to the parameters of a field that has any.
  virtual Tensor at(std::size_t level, const Tensor& x) const = 0;
  // d field_i / d x_j at each row [R,d,d], without a graph; by automatic differentiation unless a field knows better.
  virtual Tensor jacobian(std::size_t level, const Tensor& x) const;
};

}  // namespace nabla::truth
