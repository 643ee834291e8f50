#pragma once

#include "common/diffusion/tensors.h"

namespace nabla {

// Which weights a LoRA-able network computes with.
enum class WeightMode {
  kBase,     // frozen pretrained weights (the reference, #)
  kMerged,   // W + scale * B A, merged in float32 from the base; no gradient to A and B; what actors sample with
  kAdapter,  // W x + scale * B (A x); gradient to A and B; what the learner trains
};

// What a linear layer and a convolution have in common: a weight that can carry one LoRA adapter. The adapter is not registered, so a module's parameters
// stay those of the base model.
class LoraLayer {
 public:
  virtual ~LoraLayer() = default;
  virtual const Tensor& base_weight() const = 0;  // [out, in] or [out, in, k, k]

  // Shapes of an adapter of this rank: A [r, in] or [r, in, k, k], B [out, r] or [out, r, 1, 1].
  std::vector<std::int64_t> down_shape(std::int64_t rank) const;
  std::vector<std::int64_t> up_shape(std::int64_t rank) const;
  // float32 (float64 in a float64 network); replaces an earlier adapter and re-merges.
  void set_adapter(const Tensor& down, const Tensor& up, double scale);
  void set_mode(WeightMode mode) { mode_ = mode; }
  bool has_adapter() const { return down_.defined(); }
  const Tensor& down() const { return down_; }
  const Tensor& up() const { return up_; }
  double scale() const { return scale_; }
  // Recomputes the merged weight from the base, the adapter and the scale.
  void merge();
  const Tensor& merged_weight() const { return merged_; }

 protected:
  bool computes_with(WeightMode mode) const { return mode_ == mode && down_.defined(); }

  Tensor down_, up_, merged_;
  double scale_ = 1.0;

 private:
  WeightMode mode_ = WeightMode::kBase;
};

}  // namespace nabla
