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
  if (!is_rounded()) {
    merged_ = merged_weight();
    return;
  }
  // A merged bfloat16 weight would lose every change below its last digit.
  const at::NoGradGuard no_grad;
  rounded_down_ = down_.to(base_weight().scalar_type());
  rounded_up_ = up_.to(base_weight().scalar_type());
}

Tensor LoraLayer::merged_weight() const {
  const at::NoGradGuard no_grad;
  const Tensor& weight = base_weight();
  const Tensor change = at::mm(up_.flatten(1), down_.flatten(1)).view(weight.sizes());
  return (weight.to(up_.scalar_type()) + scale_ * change).to(weight.scalar_type());
}

LoraLayer::Adapter LoraLayer::adapter_for(const Tensor& x) const {
  if (mode_ == WeightMode::kAdapter) return {down_.to(x.scalar_type()), up_.to(x.scalar_type())};
  return {rounded_down_, rounded_up_};
}

bool LoraLayer::is_rounded() const { return up_.element_size() > base_weight().element_size(); }

}  // namespace nabla
