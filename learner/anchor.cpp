#include "learner/anchor.h"

#include "learner/checkpoint/named_tensors.h"
#include "learner/lent_values.h"

#include <torch/types.h>

namespace nabla {

RegularizerAnchor::RegularizerAnchor(Policy& policy, Kind kind, double decay)
    : policy_(policy), kind_(kind), decay_(decay), values_(copies_of(policy.lora().tensors())) {}

Tensor RegularizerAnchor::predict(const Tensor& x, const Tensor& timestep, const Conditioning& conditioning) {
  const at::NoGradGuard no_grad;
  const LentValues lent(policy_.lora(), values_);
  return policy_.predict(WeightMode::kAdapter, x, timestep, conditioning);
}

void RegularizerAnchor::before_step() {
  if (kind_ == Kind::kPrevious) upcoming_ = copies_of(policy_.lora().tensors());
}

void RegularizerAnchor::after_step() {
  const at::NoGradGuard no_grad;
  if (kind_ == Kind::kPrevious) {
    values_ = std::move(upcoming_);
    return;
  }
  for (auto& [name, value] : values_) value.lerp_(policy_.lora().tensors().at(name).to(value.device()), 1.0 - decay_);
}

TensorMap RegularizerAnchor::values() const { return copies_of(values_); }

void RegularizerAnchor::load(const TensorMap& values) { copy_values("anchor", values, values_); }

}  // namespace nabla
