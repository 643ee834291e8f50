#pragma once

#include "common/diffusion/tensors.h"

#include <nlohmann/json_fwd.hpp>
#include <torch/nn/module.h>

#include <memory>
#include <string>

namespace nabla {

struct ClipTextConfig {
  std::int64_t vocab_size = 49408, hidden_size = 512, intermediate_size = 2048, num_hidden_layers = 12, num_attention_heads = 8,
               max_position_embeddings = 77, eos_token_id = 2;
  double layer_norm_eps = 1e-5;
  std::string hidden_act = "quick_gelu";  // quick_gelu | gelu

  static ClipTextConfig from_json(const nlohmann::json& json, const std::string& source);
  nlohmann::ordered_json to_json() const;
};

// transformers' CLIPTextModel; parameter names "text_model....".
class ClipTextModel : public torch::nn::Module {
 public:
  struct Output {
    Tensor last_hidden_state;  // [N,L,D], after final_layer_norm
    Tensor pooled;             // [N,D]
  };
  explicit ClipTextModel(const ClipTextConfig& config);
  ~ClipTextModel() override;
  Output forward(const Tensor& input_ids);  // [N,L] int64
  const ClipTextConfig& config() const { return config_; }

 private:
  struct Layers;
  ClipTextConfig config_;
  std::unique_ptr<Layers> layers_;
};

}  // namespace nabla
