#pragma once

#include "common/diffusion/tensors.h"

namespace nabla {

// Which weights a LoRA-able network computes with.
enum class WeightMode {
  kBase,    // frozen pretrained weights (the reference, #)
  kMerged,  // W + scale * B A, merged in float32 from the base; no gradient to A and B; what actors sample with. A bfloat16 network computes as kAdapter
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
  WeightMode mode() const { return mode_; }
  bool has_adapter() const { return down_.defined(); }
  const Tensor& down() const { return down_; }
  const Tensor& up() const { return up_; }
  double scale() const { return scale_; }
  // Recomputes what kMerged computes with from the base, the adapter and the scale.
  void merge();
  Tensor merged_weight() const;  // in the network's type

 protected:
  struct Adapter {
    Tensor down, up;
  };

  // Whether a forward pass adds the adapter to W x; else it is one product with computing_weight().
  bool adds_adapter() const { return mode_ != WeightMode::kBase && down_.defined() && !computes_merged(); }
  const Tensor& computing_weight() const { return computes_merged() ? merged_ : base_weight(); }
  // A and B in the type of x, which is the network's. Gradients reach them in their own.
  Adapter adapter_for(const Tensor& x) const;
  // Whether the adapter is more precise than its network.
  bool is_rounded() const;

  double scale_ = 1.0;

 private:
  bool computes_merged() const { return mode_ == WeightMode::kMerged && merged_.defined(); }

  WeightMode mode_ = WeightMode::kBase;
  Tensor down_, up_;
  Tensor merged_;                     // of a network that is as precise as its adapter
  Tensor rounded_down_, rounded_up_;  // of another: A and B in its type
};

}  // namespace nabla
