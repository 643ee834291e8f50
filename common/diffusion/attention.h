#pragma once

#include "common/diffusion/layers.h"

namespace nabla {

// While it lives attention is computed by plain matrix products, which can be differentiated twice; the fused kernels' backward pass has no gradient
// of its own. The switch is the process's, so only one thread may compute meanwhile.
class TwiceDifferentiableAttention {
 public:
  TwiceDifferentiableAttention();
  ~TwiceDifferentiableAttention();
  TwiceDifferentiableAttention(const TwiceDifferentiableAttention&) = delete;
  TwiceDifferentiableAttention& operator=(const TwiceDifferentiableAttention&) = delete;

 private:
  bool flash_, memory_efficient_, cudnn_;
};

// diffusers' Attention: to_q, to_k, to_v, to_out.0; every projection can carry a LoRA.
class Attention : public torch::nn::Module {
 public:
  Attention(std::int64_t query_width, std::int64_t context_width, std::int64_t heads, bool projection_bias);
  // x [N,T,query_width], context [N,L,context_width] -> [N,T,query_width].
  Tensor forward(const Tensor& x, const Tensor& context) const;

 private:
  std::int64_t heads_;
  std::shared_ptr<LoraLinear> to_q_, to_k_, to_v_;
  std::shared_ptr<ModuleSeries<LoraLinear>> to_out_;
};

// The VAE's single-head attention over pixels, with its own group norm and residual.
class VaeAttention : public torch::nn::Module {
 public:
  VaeAttention(std::int64_t channels, std::int64_t num_groups, double eps);
  Tensor forward(const Tensor& x) const;  // [N,C,h,w]

 private:
  std::shared_ptr<GroupNorm> group_norm_;
  std::shared_ptr<LoraLinear> to_q_, to_k_, to_v_;
  std::shared_ptr<ModuleSeries<LoraLinear>> to_out_;
};

// One Transformer2DModel with one BasicTransformerBlock: group norm, 1x1 convolution, self-attention, cross-attention, GEGLU feed-forward, 1x1
// convolution, residual.
class Transformer2DModel : public torch::nn::Module {
 public:
  Transformer2DModel(std::int64_t channels, std::int64_t heads, std::int64_t context_width, std::int64_t num_groups);
  // x [N,C,h,w], context [M,L,D], M = N or 2N -> [M,C,h,w]; what comes before the context matters is computed for N rows.
  Tensor forward(const Tensor& x, const Tensor& context) const;

 private:
  class Block;
  std::shared_ptr<GroupNorm> norm_;
  std::shared_ptr<Conv2d> proj_in_, proj_out_;
  std::shared_ptr<ModuleSeries<Block>> transformer_blocks_;
};

}  // namespace nabla
