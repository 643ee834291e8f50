#pragma once

#include "common/diffusion/layers.h"

namespace nabla {

struct ClipLayerShape {
  std::int64_t width = 0, inner_width = 0, heads = 0, count = 0;
  double eps = 1e-5;
  std::string activation = "quick_gelu";  // quick_gelu | gelu
};

// CLIP's stack of pre-norm transformer layers, registered as "layers.<i>".
class ClipEncoder : public torch::nn::Module {
 public:
  explicit ClipEncoder(const ClipLayerShape& shape);
  ~ClipEncoder() override;
  Tensor forward(Tensor x, bool causal) const;  // [N,T,width]

 private:
  class Layer;
  std::shared_ptr<ModuleSeries<Layer>> layers_;
};

}  // namespace nabla
