#pragma once

#include "common/diffusion/tensors.h"
#include "common/pocket/caption.h"

#include <torch/nn/module.h>

#include <memory>
#include <string>
#include <vector>

namespace nabla::pocket {

// A small convolutional classifier of rendered pictures, sharing nothing with the diffusion model: judges what a picture shows.
class Checker : public torch::nn::Module {
 public:
  struct Verdict {
    Tensor shape, color, count;  // [N] int64 class indices (count: 0 means one object)
    Tensor features;             // [N,F] penultimate activations, for the diversity metric
  };
  Checker();
  ~Checker() override;
  struct Logits {
    Tensor shape, color, count, features;
  };
  Logits forward(const Tensor& images);  // [N,3,32,32] in [0,1]
  Verdict judge(const Tensor& images);   // evaluation mode, no gradient
  static std::shared_ptr<Checker> load(const std::string& file);

 private:
  struct Layers;
  std::unique_ptr<Layers> layers_;
};

}  // namespace nabla::pocket
