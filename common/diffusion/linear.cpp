#include "common/diffusion/linear.h"

#include <torch/types.h>

namespace nabla {

LoraLinear::LoraLinear(std::int64_t in_features, std::int64_t out_features, bool with_bias) {
  weight = register_parameter("weight", at::empty({out_features, in_features}, at::kFloat));
  if (with_bias) bias = register_parameter("bias", at::empty({out_features}, at::kFloat));
}

Tensor LoraLinear::forward(const Tensor& x) const {
  if (!adds_adapter()) return at::linear(x, computing_weight(), bias);
  const auto [down, up] = adapter_for(x);
  const Tensor hidden = at::linear(x, down);
  if (!is_rounded()) {
    const Tensor change = at::linear(hidden, up);
    return at::linear(x, weight, bias) + (scale_ == 1.0 ? change : change * scale_);
  }
  // The sum is rounded once: it is a part of the product that makes the change.
  const Tensor base = at::linear(x, weight, bias);
  return at::addmm(base.flatten(0, -2), hidden.flatten(0, -2), up.t(), 1.0, scale_).view(base.sizes());
}

}  // namespace nabla
