#include "learner/weight_average.h"

#include "learner/checkpoint/named_tensors.h"

#include <torch/types.h>

#include <algorithm>

namespace nabla {

WeightAverage::WeightAverage(const LoraAdapter& lora, double decay) : lora_(lora), decay_(decay), values_(copies_of(lora.tensors())) {}

void WeightAverage::after_step(std::int64_t update) {
  const at::NoGradGuard no_grad;
  const auto u = static_cast<double>(update);
  const double decay = update == 0 ? 0.0 : std::min(decay_, (1.0 + u) / (10.0 + u));
  const TensorMap now = lora_.tensors();
  for (auto& [name, value] : values_) value.lerp_(now.at(name), 1.0 - decay);
}

TensorMap WeightAverage::values() const { return copies_of(values_); }

void WeightAverage::load(const TensorMap& values) { copy_values("averaged weights", values, values_); }

void WeightAverage::restart() { values_ = copies_of(lora_.tensors()); }

}  // namespace nabla
