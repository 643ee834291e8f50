#include "common/diffusion/lora_layer.h"

#include <torch/types.h>

namespace nabla {

std::vector<std::int64_t> LoraLayer::down_shape(std::int64_t rank) const {
  auto shape = base_weight().sizes().vec();
  shape[0] = rank;
  return shape;
}

std::vector<std::int64_t> LoraLayer::up_shape(std::int64_t rank) const {
  std::vector<std::int64_t> shape(base_weight().sizes().size(), 1);
  shape[0] = base_weight().size(0);
  shape[1] = rank;
  return shape;
}

void LoraLayer::set_adapter(const Tensor& down, const Tensor& up, double scale) {
  down_ = down;
  up_ = up;
  scale_ = scale;
  merge();
}

void LoraLayer::merge() {
  const at::NoGradGuard no_grad;
  const Tensor& weight = base_weight();
  const Tensor change = at::mm(up_.flatten(1), down_.flatten(1)).view(weight.sizes());
  merged_ = (weight.to(up_.scalar_type()) + scale_ * change).to(weight.scalar_type());
}

}  // namespace nabla
