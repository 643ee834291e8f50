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
    // [N,F] the last convolution's activations on a 4x4 grid, for the diversity metric: what is where. (Pooled over the whole picture, as the
    // verdicts are, they would see neither place nor arrangement, and diversity would mean mistakes.)
    Tensor features;
  };
  Checker();
  ~Checker() override;
  struct Logits {
    Tensor shape, color, count;
    Tensor activations;  // [N,96,8,8] of the last convolution
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
