#pragma once

#include "common/diffusion/tensors.h"

#include <torch/nn/module.h>

namespace nabla {

// Which weights a LoRA-able network computes with.
enum class WeightMode {
  kBase,     // frozen pretrained weights (the reference, #)
  kMerged,   // W + scale * B A, merged in float32 from the base; no gradient to A and B; what actors sample with
  kAdapter,  // W x + scale * B (A x); gradient to A and B; what the learner trains
};

// nn.Linear that can carry one LoRA adapter. Parameters are registered as "weight" and "bias", as in the checkpoints; the adapter is
// not registered, so a module's parameters stay those of the base model.
class LoraLinear : public torch::nn::Module {
 public:
  LoraLinear(std::int64_t in_features, std::int64_t out_features, bool bias);
  // x [..., in] -> [..., out]
  Tensor forward(const Tensor& x) const;

  // down [r, in], up [out, r], float32; replaces an earlier adapter and re-merges.
  void set_adapter(const Tensor& down, const Tensor& up, double scale);
  void set_mode(WeightMode mode) { mode_ = mode; }
  bool has_adapter() const { return down_.defined(); }
  const Tensor& down() const { return down_; }
  const Tensor& up() const { return up_; }
  double scale() const { return scale_; }
  // Recomputes the merged weight from the base, the adapter and the scale.
  void merge();
  const Tensor& merged_weight() const { return merged_; }

  Tensor weight, bias;

 private:
  WeightMode mode_ = WeightMode::kBase;
  Tensor down_, up_, merged_;
  double scale_ = 1.0;
};

}  // namespace nabla
