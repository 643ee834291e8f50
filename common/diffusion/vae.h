#pragma once

#include "common/diffusion/tensors.h"

#include <nlohmann/json_fwd.hpp>
#include <torch/nn/module.h>

#include <memory>
#include <string>
#include <vector>

namespace nabla {

struct VaeConfig {
  std::int64_t in_channels = 3, out_channels = 3, latent_channels = 4, layers_per_block = 1, norm_num_groups = 32, sample_size = 32;
  std::vector<std::int64_t> block_out_channels{64};
  double scaling_factor = 0.18215;

  static VaeConfig from_json(const nlohmann::json& json, const std::string& source);
  nlohmann::ordered_json to_json() const;
  // Picture size / latent size.
  std::int64_t scale() const { return std::int64_t{1} << (block_out_channels.size() - 1); }
};

// diffusers' AutoencoderKL. Parameter names are diffusers' (new attention spelling).
class AutoencoderKL : public torch::nn::Module {
 public:
  struct Moments {
    Tensor mean, logvar;  // [N,C,h,w], before the scaling factor; logvar clamped to [-30, 20]
  };
  explicit AutoencoderKL(const VaeConfig& config);
  ~AutoencoderKL() override;
  Moments encode(const Tensor& image);   // image [N,3,H,W] in [-1,1]
  Tensor decode(const Tensor& latents);  // latents [N,C,h,w] as the VAE knows them (already divided by scaling_factor) -> [N,3,H,W]
  const VaeConfig& config() const { return config_; }

 private:
  struct Layers;
  VaeConfig config_;
  std::unique_ptr<Layers> layers_;
};

// latents as the sampler holds them -> picture in [0,1]: clamp(decode(latents / scaling_factor) / 2 + 1/2, 0, 1). Decoded in the network's type, the picture is
// float32 or wider.
Tensor decode_image(AutoencoderKL& vae, const Tensor& latents);
// The same `rows_at_once` rows at a time (0: all), without a graph: the decoder's memory is that of one slice.
Tensor decode_image_sliced(AutoencoderKL& vae, const Tensor& latents, std::int64_t rows_at_once);

}  // namespace nabla
