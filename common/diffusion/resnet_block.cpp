#include "common/diffusion/resnet_block.h"

#include <torch/types.h>

namespace nabla {

ResnetBlock2D::ResnetBlock2D(std::int64_t in_channels, std::int64_t out_channels, std::int64_t num_groups, double eps,
                             std::optional<std::int64_t> time_width) {
  norm1_ = register_module("norm1", std::make_shared<GroupNorm>(num_groups, in_channels, eps));
  conv1_ = register_module("conv1", std::make_shared<Conv2d>(in_channels, out_channels, Conv2d::Options{}));
  if (time_width) time_emb_proj_ = register_module("time_emb_proj", std::make_shared<LoraLinear>(*time_width, out_channels, true));
  norm2_ = register_module("norm2", std::make_shared<GroupNorm>(num_groups, out_channels, eps));
  conv2_ = register_module("conv2", std::make_shared<Conv2d>(out_channels, out_channels, Conv2d::Options{}));
  if (in_channels == out_channels) return;
  conv_shortcut_ =
      register_module("conv_shortcut", std::make_shared<Conv2d>(in_channels, out_channels, Conv2d::Options{.kernel = 1, .padding = 0}));
}

Tensor ResnetBlock2D::forward(const Tensor& x, const Tensor& activated_time) const {
  Tensor hidden = conv1_->forward(norm1_->activated(x));
  if (time_emb_proj_) hidden = hidden + repeat_rows(time_emb_proj_->forward(activated_time), x.size(0)).unsqueeze(-1).unsqueeze(-1);
  hidden = conv2_->forward(norm2_->activated(hidden));
  return (conv_shortcut_ ? conv_shortcut_->forward(x) : x) + hidden;
}

Downsample2D::Downsample2D(std::int64_t channels, std::int64_t padding) : padding_(padding) {
  conv_ = register_module("conv", std::make_shared<Conv2d>(channels, channels, Conv2d::Options{.stride = 2, .padding = padding}));
}

Tensor Downsample2D::forward(const Tensor& x) const {
  // Padding 0 means the VAE's way: one row and column behind the picture.
  return conv_->forward(padding_ == 0 ? at::constant_pad_nd(x, {0, 1, 0, 1}) : x);
}

Upsample2D::Upsample2D(std::int64_t channels) {
  conv_ = register_module("conv", std::make_shared<Conv2d>(channels, channels, Conv2d::Options{}));
}

Tensor Upsample2D::forward(const Tensor& x, std::optional<std::pair<std::int64_t, std::int64_t>> size) const {
  const auto [height, width] = size.value_or(std::pair{2 * x.size(2), 2 * x.size(3)});
  return conv_->forward(at::upsample_nearest2d(x, {height, width}));
}

}  // namespace nabla
