#pragma once

#include "common/diffusion/transition_kernel.h"
#include "common/philox.h"
#include "launch/truth/field.h"

#include <vector>

namespace nabla::truth {

// A small network of the state and its noise level, in double: two hidden layers, SiLU, a last layer that starts at 0. Its output is multiplied
// by a number a level.
class MlpField : public Field {
 public:
  // A scale for each of the table's N + 1 levels.
  MlpField(const StepTable& table, std::vector<double> scales, std::int64_t dimensions, Philox stream);

  Tensor at(std::size_t level, const Tensor& x) const override;
  // Rows of different levels: level [R] int64, x [R,d] -> [R,d].
  Tensor at_levels(const Tensor& level, const Tensor& x) const;
  const std::vector<Tensor>& parameters() const { return parameters_; }

 private:
  Tensor features_, scales_;  // of each level, [N+1,F] and [N+1,1]
  std::vector<Tensor> parameters_;
};

}  // namespace nabla::truth
