#pragma once

#include "common/diffusion/tensors.h"

#include <nlohmann/json_fwd.hpp>
#include <torch/nn/module.h>

#include <memory>
#include <string>

namespace nabla {

// The vision tower of transformers' CLIPModel with its projection: the body of the aesthetic reward at any size.
struct ClipVisionConfig {
  std::int64_t image_size = 224, patch_size = 32, hidden_size = 768, intermediate_size = 3072, num_hidden_layers = 12,
               num_attention_heads = 12, projection_dim = 512;
  double layer_norm_eps = 1e-5;
  std::string hidden_act = "quick_gelu";

  static ClipVisionConfig from_json(const nlohmann::json& json, const std::string& source);
  nlohmann::ordered_json to_json() const;
};

// Names: "vision_model....", "visual_projection.weight" (vision_model.pre_layrnorm is spelt so in the checkpoints).
class ClipVisionModelWithProjection : public torch::nn::Module {
 public:
  explicit ClipVisionModelWithProjection(const ClipVisionConfig& config);
  ~ClipVisionModelWithProjection() override;
  Tensor forward(const Tensor& pixels);  // [N,3,S,S], already normalised -> image_embeds [N,projection_dim], not L2-normalised
  const ClipVisionConfig& config() const { return config_; }

 private:
  struct Layers;
  ClipVisionConfig config_;
  std::unique_ptr<Layers> layers_;
};

}  // namespace nabla
