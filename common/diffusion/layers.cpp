#include "common/diffusion/layers.h"

#include "common/device/group_norm.h"

#include <torch/types.h>

namespace nabla {

Conv2d::Conv2d(std::int64_t in_channels, std::int64_t out_channels, const Options& options) : options_(options) {
  const auto memory = at::TensorOptions(at::kFloat).memory_format(at::MemoryFormat::ChannelsLast);
  weight = register_parameter("weight", at::empty({out_channels, in_channels, options.kernel, options.kernel}, memory));
  if (options.bias) bias = register_parameter("bias", at::empty({out_channels}, at::kFloat));
}

Tensor Conv2d::convolve(const Tensor& x, const Tensor& kernel, const Tensor& offset) const {
  return at::conv2d(x, kernel, offset, {options_.stride, options_.stride}, at::IntArrayRef{options_.padding, options_.padding});
}

Tensor Conv2d::forward(const Tensor& x) const {
  if (computes_with(WeightMode::kMerged)) return convolve(x, merged_, bias);
  if (!computes_with(WeightMode::kAdapter)) return convolve(x, weight, bias);
  const Tensor change = at::conv2d(convolve(x.to(down_.scalar_type()), down_, {}), up_);
  return convolve(x, weight, bias) + (change * scale_).to(x.scalar_type());
}

GroupNorm::GroupNorm(std::int64_t num_groups, std::int64_t channels, double eps) : num_groups_(num_groups), eps_(eps) {
  weight = register_parameter("weight", at::empty({channels}, at::kFloat));
  bias = register_parameter("bias", at::empty({channels}, at::kFloat));
}

Tensor GroupNorm::forward(const Tensor& x) const { return nabla::group_norm(x, num_groups_, weight, bias, eps_); }

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

Tensor repeat_rows(const Tensor& x, std::int64_t rows) { return x.size(0) == rows ? x : at::cat({x, x}); }

}  // namespace nabla
