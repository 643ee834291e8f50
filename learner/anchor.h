#pragma once

#include "common/diffusion/policy.h"

#include <string>

namespace nabla {

// The weights that the U-Net regulariser holds the policy to, where they are not those that sampled: LoRA values of its own, predicted with by lending
// them to the policy. At the start of a run they are the policy's.
class RegularizerAnchor {
 public:
  // previous: those of one update ago (with one step a batch the update's own start would have no gradient); ema: decay * own + (1 - decay) * policy's
  // after each update. `policy` must outlive it.
  enum class Kind { kPrevious, kEma };
  RegularizerAnchor(Policy& policy, Kind kind, double decay);

  // Guided prediction without a graph [R,C,h,w]. Call it before the graph of the policy is built: its weights are written to and restored.
  Tensor predict(const Tensor& x, const Tensor& timestep, const Conditioning& conditioning);
  // Tell it of each update, just before and just after the optimiser's step.
  void before_step();
  void after_step();
  // For checkpoints: by the names of the policy's LoRA tensors.
  TensorMap values() const;
  void load(const TensorMap& values);

 private:
  Policy& policy_;
  Kind kind_;
  double decay_;
  TensorMap values_, upcoming_;
};

}  // namespace nabla
