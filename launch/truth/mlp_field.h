#pragma once

#include "common/diffusion/transition_kernel.h"
#include "common/philox.h"
#include "launch/truth/field.h"
#include "launch/truth/reference_model.h"

#include <vector>

namespace nabla::truth {

// A small network in double: two hidden layers, SiLU, a last layer that starts at 0. It sees the state, its noise level, and, as an adapter on a base
// model does, what that model makes of the state: its clean prediction and how that moves with the state. Its output is multiplied by a number a
// level.
class MlpField : public Field {
 public:
  // A scale for each of the table's N + 1 levels. Table and reference must outlive it.
  MlpField(const StepTable& table, const ReferenceModel& reference, std::vector<double> scales, std::int64_t dimensions, Philox stream);

  Tensor at(std::size_t level, const Tensor& x) const override;
  // What the network sees of states x [R,d] of a level: [R,F]. The same for all fields of a table and a reference.
  Tensor features(std::size_t level, const Tensor& x) const;
  // Rows of different levels: level [R] int64, their features [R,F] -> [R,d].
  Tensor at_features(const Tensor& level, const Tensor& features) const;
  const std::vector<Tensor>& parameters() const { return parameters_; }

 private:
  const StepTable& table_;
  const ReferenceModel& reference_;
  Tensor level_features_, scales_;  // of each level, [N+1,...] and [N+1,1]
  std::vector<Tensor> parameters_;
};

}  // namespace nabla::truth
