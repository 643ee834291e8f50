#pragma once

#include "common/diffusion/tensors.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace nabla::truth {

// Letters: L levels (states of the chain), M nodes, R rows. A state is one number, [R,1,1,1] float64.

// A function of level and state, piecewise linear in the state at each level and linear beyond the outer nodes: what stands for a network
// where the answer is known. Starts at 0.
class LevelTables {
 public:
  // Two nodes or more, ascending.
  LevelTables(std::int64_t levels, const std::vector<double>& nodes);
  // The function of one level at x [R,1,1,1], with gradients to x and to values().
  Tensor at_level(std::int64_t level, const Tensor& x) const;
  Tensor& values() { return values_; }  // [L,M], wants a gradient

 private:
  Tensor nodes_, values_;  // [M], [L,M]
};

// Moves each level of the table to the minimum of `loss`, which is quadratic in values() and couples no two levels. Uses first-order gradients
// alone: columns of the Hessian are differences of gradients. A level that the loss does not see stays.
void minimize(LevelTables& table, const std::function<Tensor()>& loss);

}  // namespace nabla::truth
