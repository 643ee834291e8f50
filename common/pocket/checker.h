#pragma once

#include "common/diffusion/tensors.h"
#include "common/pocket/caption.h"

#include <torch/nn/module.h>

#include <map>
#include <memory>
#include <string>

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
  // Weights and running statistics; load() gives a frozen checker in evaluation mode, data_error naming file and tensor.
  void save(const std::string& file, std::map<std::string, std::string> metadata) const;
  static std::shared_ptr<Checker> load(const std::string& file);

 private:
  struct Layers;
  std::unique_ptr<Layers> layers_;
};

}  // namespace nabla::pocket
