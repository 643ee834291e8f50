#include "learner/anchor.h"

#include "learner/checkpoint/named_tensors.h"

#include <torch/types.h>

namespace nabla {

namespace {

// Puts other values into the policy's LoRA while it lives.
class LentValues {
 public:
  LentValues(Policy& policy, const TensorMap& values) : policy_(policy), own_(copies_of(policy.lora().tensors())) {
    copy_values("anchor", values, policy_.lora().tensors());
  }
  ~LentValues() { copy_values("anchor", own_, policy_.lora().tensors()); }
  LentValues(const LentValues&) = delete;
  LentValues& operator=(const LentValues&) = delete;

 private:
  Policy& policy_;
  TensorMap own_;
};

}  // namespace

RegularizerAnchor::RegularizerAnchor(Policy& policy, Kind kind, double decay)
    : policy_(policy), kind_(kind), decay_(decay), values_(copies_of(policy.lora().tensors())) {}

Tensor RegularizerAnchor::predict(const Tensor& x, const Tensor& timestep, const Conditioning& conditioning) {
  const at::NoGradGuard no_grad;
  const LentValues lent(policy_, values_);
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
