#pragma once

#include "common/diffusion/lora.h"

#include <cstdint>

namespace nabla {

// An exponential average of a LoRA over its updates, which trains nothing. As in diffusers' EMAModel the first updates weigh more: the decay after update u is
// at most (1 + u) / (10 + u), and 0 after the first. `lora` must outlive it.
class WeightAverage {
 public:
  WeightAverage(const LoraAdapter& lora, double decay);

  // Tell it of each update, just after the optimiser's step.
  void after_step(std::int64_t update);
  // By the names of the LoRA's tensors; copies.
  TensorMap values() const;
  // data_error where they do not fit.
  void load(const TensorMap& values);
  // Begins anew with the LoRA's own values.
  void restart();

 private:
  const LoraAdapter& lora_;
  const double decay_;
  TensorMap values_;
};

}  // namespace nabla
