#pragma once

#include "common/diffusion/layers.h"

#include <optional>

namespace nabla {

// diffusers' ResnetBlock2D: conv2(silu(norm2(conv1(silu(norm1 x)) + time))) + shortcut(x).
class ResnetBlock2D : public torch::nn::Module {
 public:
  // time_width: width of the time embedding; none in a VAE.
  ResnetBlock2D(std::int64_t in_channels, std::int64_t out_channels, std::int64_t num_groups, double eps, std::optional<std::int64_t> time_width);
  // x [N,in,h,w], activated_time = silu(time embedding) [N,T], [N/2,T] for both halves, or undefined -> [N,out,h,w].
  Tensor forward(const Tensor& x, const Tensor& activated_time) const;

 private:
  std::shared_ptr<GroupNorm> norm1_, norm2_;
  std::shared_ptr<Conv2d> conv1_, conv2_, conv_shortcut_;
  std::shared_ptr<LoraLinear> time_emb_proj_;
};

// Halves the picture: stride-2 convolution under "conv". Padding 1 in a UNet; (0,1,0,1) by hand in a VAE encoder.
class Downsample2D : public torch::nn::Module {
 public:
  Downsample2D(std::int64_t channels, std::int64_t padding);
  Tensor forward(const Tensor& x) const;

 private:
  std::int64_t padding_;
  std::shared_ptr<Conv2d> conv_;
};

// Doubles the picture (nearest), or makes it the given size, then convolves under "conv".
class Upsample2D : public torch::nn::Module {
 public:
  explicit Upsample2D(std::int64_t channels);
  Tensor forward(const Tensor& x, std::optional<std::pair<std::int64_t, std::int64_t>> size) const;

 private:
  std::shared_ptr<Conv2d> conv_;
};

}  // namespace nabla
