#include "common/diffusion/linear.h"

#include <torch/types.h>

namespace nabla {

LoraLinear::LoraLinear(std::int64_t in_features, std::int64_t out_features, bool with_bias) {
  weight = register_parameter("weight", at::empty({out_features, in_features}, at::kFloat));
  if (with_bias) bias = register_parameter("bias", at::empty({out_features}, at::kFloat));
}

Tensor LoraLinear::forward(const Tensor& x) const {
  if (computes_with(WeightMode::kMerged)) return at::linear(x, merged_, bias);
  if (!computes_with(WeightMode::kAdapter)) return at::linear(x, weight, bias);
  // As peft: the adapter computes in its own float32 and its sum is cast back.
  const Tensor change = at::linear(at::linear(x.to(down_.scalar_type()), down_), up_);
  return at::linear(x, weight, bias) + (scale_ == 1.0 ? change : change * scale_).to(x.scalar_type());
}

}  // namespace nabla
