#include "common/diffusion/linear.h"

#include <torch/types.h>

namespace nabla {

LoraLinear::LoraLinear(std::int64_t in_features, std::int64_t out_features, bool with_bias) {
  weight = register_parameter("weight", at::empty({out_features, in_features}, at::kFloat));
  if (with_bias) bias = register_parameter("bias", at::empty({out_features}, at::kFloat));
}

Tensor LoraLinear::forward(const Tensor& x) const {
  if (mode_ == WeightMode::kBase || !down_.defined()) return at::linear(x, weight, bias);
  if (mode_ == WeightMode::kMerged) return at::linear(x, merged_, bias);
  // As peft: the adapter computes in its own float32 and its sum is cast back.
  const Tensor change = at::linear(at::linear(x.to(down_.scalar_type()), down_), up_);
  return at::linear(x, weight, bias) + (scale_ == 1.0 ? change : change * scale_).to(x.scalar_type());
}

void LoraLinear::set_adapter(const Tensor& down, const Tensor& up, double scale) {
  down_ = down;
  up_ = up;
  scale_ = scale;
  merge();
}

void LoraLinear::merge() {
  const at::NoGradGuard no_grad;
  merged_ = (weight.to(up_.scalar_type()) + scale_ * at::mm(up_, down_)).to(weight.scalar_type());
}

}  // namespace nabla
