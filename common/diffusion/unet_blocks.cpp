#include "common/diffusion/unet_blocks.h"

#include <torch/types.h>

namespace nabla {

UNetDownBlock::UNetDownBlock(std::int64_t in_channels, std::int64_t out_channels, std::int64_t layers, bool downsample, const UNetBlockShape& shape) {
  resnets_ = register_module("resnets", std::make_shared<ModuleSeries<ResnetBlock2D>>());
  if (shape.attention) attentions_ = register_module("attentions", std::make_shared<ModuleSeries<Transformer2DModel>>());
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const std::int64_t in = layer == 0 ? in_channels : out_channels;
    resnets_->append(std::make_shared<ResnetBlock2D>(in, out_channels, shape.num_groups, shape.eps, shape.time_width));
    if (attentions_) attentions_->append(std::make_shared<Transformer2DModel>(out_channels, shape.heads, shape.context_width, shape.num_groups));
  }
  if (!downsample) return;
  downsamplers_ = register_module("downsamplers", std::make_shared<ModuleSeries<Downsample2D>>());
  downsamplers_->append(std::make_shared<Downsample2D>(out_channels, 1));
}

Tensor UNetDownBlock::forward(Tensor x, const Tensor& activated_time, const Tensor& context, std::vector<Tensor>& skips) const {
  for (std::size_t layer = 0; layer < resnets_->size(); ++layer) {
    x = (*resnets_)[layer].forward(x, activated_time);
    if (attentions_) x = (*attentions_)[layer].forward(x, context);
    skips.push_back(x);
  }
  if (downsamplers_) skips.push_back(x = (*downsamplers_)[0].forward(x));
  return x;
}

UNetMidBlock::UNetMidBlock(std::int64_t channels, const UNetBlockShape& shape) {
  resnets_ = register_module("resnets", std::make_shared<ModuleSeries<ResnetBlock2D>>());
  attentions_ = register_module("attentions", std::make_shared<ModuleSeries<Transformer2DModel>>());
  resnets_->append(std::make_shared<ResnetBlock2D>(channels, channels, shape.num_groups, shape.eps, shape.time_width));
  attentions_->append(std::make_shared<Transformer2DModel>(channels, shape.heads, shape.context_width, shape.num_groups));
  resnets_->append(std::make_shared<ResnetBlock2D>(channels, channels, shape.num_groups, shape.eps, shape.time_width));
}

Tensor UNetMidBlock::forward(const Tensor& x, const Tensor& activated_time, const Tensor& context) const {
  const Tensor hidden = (*attentions_)[0].forward((*resnets_)[0].forward(x, activated_time), context);
  return (*resnets_)[1].forward(hidden, activated_time);
}

UNetUpBlock::UNetUpBlock(std::int64_t in_channels, std::int64_t out_channels, const std::vector<std::int64_t>& skip_channels, bool upsample,
                         const UNetBlockShape& shape) {
  resnets_ = register_module("resnets", std::make_shared<ModuleSeries<ResnetBlock2D>>());
  if (shape.attention) attentions_ = register_module("attentions", std::make_shared<ModuleSeries<Transformer2DModel>>());
  std::int64_t in = in_channels;
  for (const auto skip : skip_channels) {
    resnets_->append(std::make_shared<ResnetBlock2D>(in + skip, out_channels, shape.num_groups, shape.eps, shape.time_width));
    if (attentions_) attentions_->append(std::make_shared<Transformer2DModel>(out_channels, shape.heads, shape.context_width, shape.num_groups));
    in = out_channels;
  }
  if (!upsample) return;
  upsamplers_ = register_module("upsamplers", std::make_shared<ModuleSeries<Upsample2D>>());
  upsamplers_->append(std::make_shared<Upsample2D>(out_channels));
}

Tensor UNetUpBlock::forward(Tensor x, const Tensor& activated_time, const Tensor& context, std::vector<Tensor>& skips) const {
  for (std::size_t layer = 0; layer < resnets_->size(); ++layer) {
    x = (*resnets_)[layer].forward(at::cat({x, repeat_rows(skips.back(), x.size(0))}, 1), activated_time);
    skips.pop_back();
    if (attentions_) x = (*attentions_)[layer].forward(x, context);
  }
  if (!upsamplers_) return x;
  // Latents that do not halve evenly: the next block's skip says how large the picture was.
  return (*upsamplers_)[0].forward(x, std::pair{skips.back().size(2), skips.back().size(3)});
}

}  // namespace nabla
