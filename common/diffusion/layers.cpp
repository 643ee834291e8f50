#include "common/diffusion/layers.h"

#include "common/device/frozen_conv.h"
#include "common/device/group_norm.h"

#include <torch/types.h>

namespace nabla {

Conv2d::Conv2d(std::int64_t in_channels, std::int64_t out_channels, const Options& options) : options_(options) {
  const auto memory = at::TensorOptions(at::kFloat).memory_format(at::MemoryFormat::ChannelsLast);
  weight = register_parameter("weight", at::empty({out_channels, in_channels, options.kernel, options.kernel}, memory));
  if (options.bias) bias = register_parameter("bias", at::empty({out_channels}, at::kFloat));
}

Tensor Conv2d::convolve(const Tensor& x, const Tensor& kernel, const Tensor& offset) const {
  return nabla::conv2d(x, kernel, offset, options_.stride, options_.padding);
}

Tensor Conv2d::forward(const Tensor& x) const {
  if (!adds_adapter()) return convolve(x, computing_weight(), bias);
  const auto [down, up] = adapter_for(x);
  const Tensor change = nabla::conv2d(convolve(x, down, {}), up, {}, 1, 0);
  return convolve(x, weight, bias) + change * scale_;
}

GroupNorm::GroupNorm(std::int64_t num_groups, std::int64_t channels, double eps) : num_groups_(num_groups), eps_(eps) {
  weight = register_parameter("weight", at::empty({channels}, at::kFloat));
  bias = register_parameter("bias", at::empty({channels}, at::kFloat));
}

Tensor GroupNorm::forward(const Tensor& x) const { return nabla::group_norm(x, num_groups_, weight, bias, eps_); }

Tensor GroupNorm::activated(const Tensor& x) const { return nabla::group_norm_silu(x, num_groups_, weight, bias, eps_); }

LayerNorm::LayerNorm(std::int64_t width, double eps) : eps_(eps) {
  weight = register_parameter("weight", at::empty({width}, at::kFloat));
  bias = register_parameter("bias", at::empty({width}, at::kFloat));
}

Tensor LayerNorm::forward(const Tensor& x) const { return at::layer_norm(x, weight.sizes(), weight, bias, eps_); }

Embedding::Embedding(std::int64_t count, std::int64_t width) {
  weight = register_parameter("weight", at::empty({count, width}, at::kFloat));
}

Tensor Embedding::forward(const Tensor& ids) const { return at::embedding(weight, ids); }

Tensor split_heads(const Tensor& x, std::int64_t heads) { return x.view({x.size(0), x.size(1), heads, -1}).transpose(1, 2); }

Tensor merge_heads(const Tensor& x) { return x.transpose(1, 2).reshape({x.size(0), x.size(2), x.size(1) * x.size(3)}); }

Tensor attend(const Tensor& query, const Tensor& key, const Tensor& value, AttentionMask mask) {
  const bool causal = mask == AttentionMask::kCausal;
  if (query.is_meta()) return std::get<0>(at::_scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, causal));
  return at::scaled_dot_product_attention(query, key, value, {}, 0.0, causal);
}

Tensor repeat_rows(const Tensor& x, std::int64_t rows) { return x.size(0) == rows ? x : at::cat({x, x}); }

}  // namespace nabla
