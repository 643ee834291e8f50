#pragma once

#include "common/diffusion/lora_layer.h"

#include <torch/nn/module.h>

namespace nabla {

// nn.Linear that can carry a LoRA. Parameters are registered as "weight" and "bias", as in the checkpoints.
class LoraLinear : public torch::nn::Module, public LoraLayer {
 public:
  LoraLinear(std::int64_t in_features, std::int64_t out_features, bool bias);
  // x [..., in] -> [..., out]
  Tensor forward(const Tensor& x) const;
  const Tensor& base_weight() const override { return weight; }

  Tensor weight, bias;
};

}  // namespace nabla
