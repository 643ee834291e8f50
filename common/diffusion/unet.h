#pragma once

#include "common/diffusion/tensors.h"

#include <nlohmann/json_fwd.hpp>
#include <torch/nn/module.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

// Letters: N batch, C latent channels, h w latent size, L tokens, D context width.

// What the graph keeps for gradients: all that they ask for, or the inputs of each layer (checkpoint.h).
enum class Activations { kKept, kRecomputed };

// The keys of diffusers' unet/config.json that decide the network.
struct UNetConfig {
  std::int64_t in_channels = 4, out_channels = 4, sample_size = 64;
  std::vector<std::string> down_block_types{"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"};
  std::vector<std::string> up_block_types{"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"};
  std::vector<std::int64_t> block_out_channels{320, 640, 1280, 1280};
  std::int64_t layers_per_block = 2, cross_attention_dim = 1280, norm_num_groups = 32;
  // diffusers' attention_head_dim, which is the number of heads; one entry a block.
  std::vector<std::int64_t> num_heads{8, 8, 8, 8};
  double norm_eps = 1e-5;
  bool flip_sin_to_cos = true;
  double freq_shift = 0.0;

  // Class defaults fill absent keys; a known key with an unsupported value is a data_error naming it.
  static UNetConfig from_json(const nlohmann::json& json, const std::string& source);
  nlohmann::ordered_json to_json() const;
};

// diffusers' UNet2DConditionModel. Parameter names are diffusers' names.
class UNet2DConditionModel : public torch::nn::Module {
 public:
  explicit UNet2DConditionModel(const UNetConfig& config);
  ~UNet2DConditionModel() override;
  // sample [N,C,h,w], timestep [N] int64, encoder_hidden_states [M,L,D] -> noise [M,C,h,w]; M = N, or 2N: each half sees all samples.
  Tensor forward(const Tensor& sample, const Tensor& timestep, const Tensor& encoder_hidden_states);
  const UNetConfig& config() const { return config_; }
  // kRecomputed: gradients take the memory of the layers' inputs and of one layer, and one more forward pass; they cannot be differentiated again.
  void set_activations(Activations activations) { activations_ = activations; }

 private:
  struct Layers;
  Activations activations_ = Activations::kKept;
  UNetConfig config_;
  std::unique_ptr<Layers> layers_;
};

}  // namespace nabla
