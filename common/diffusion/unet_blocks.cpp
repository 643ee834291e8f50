#include "common/diffusion/unet_blocks.h"

#include <torch/types.h>

namespace nabla {

namespace {

// The last of the series.
UNetLayer layer_of(const std::shared_ptr<ModuleSeries<ResnetBlock2D>>& resnets,
                   const std::shared_ptr<ModuleSeries<Transformer2DModel>>& attentions) {
  return {(*resnets)[resnets->size() - 1], attentions ? &(*attentions)[attentions->size() - 1] : nullptr};
}

}  // namespace

UNetLayer::UNetLayer(ResnetBlock2D& resnet, Transformer2DModel* attention) : resnet_(resnet), attention_(attention) {
  const auto collect = [this](torch::nn::Module& module) {
    for (const auto& part : module.modules()) {
      if (auto* layer = dynamic_cast<LoraLayer*>(part.get())) lora_layers_.push_back(layer);
    }
  };
  collect(resnet);
  if (attention != nullptr) collect(*attention);
}

Tensor UNetLayer::forward(const std::vector<Tensor>& x, const Tensor& activated_time, const Tensor& context,
                          Activations activations) const {
  const auto segment = [this](const std::vector<Tensor>& inputs) {
    const Tensor &embedded_time = inputs[0], &prompt = inputs[1];
    const std::vector<Tensor> parts(inputs.begin() + 2, inputs.end());
    // Skips of the first levels have a row for both halves of a guided batch.
    const Tensor whole = parts.size() == 1 ? parts[0] : at::cat({parts[0], repeat_rows(parts[1], parts[0].size(0))}, 1);
    const Tensor hidden = resnet_.forward(whole, embedded_time);
    return attention_ != nullptr ? attention_->forward(hidden, prompt) : hidden;
  };
  std::vector<Tensor> inputs{activated_time, context};
  inputs.insert(inputs.end(), x.begin(), x.end());
  return activations == Activations::kRecomputed ? checkpointed(segment, inputs, lora_layers_) : segment(inputs);
}

UNetDownBlock::UNetDownBlock(std::int64_t in_channels, std::int64_t out_channels, std::int64_t layers, bool downsample,
                             const UNetBlockShape& shape) {
  resnets_ = register_module("resnets", std::make_shared<ModuleSeries<ResnetBlock2D>>());
  if (shape.attention) attentions_ = register_module("attentions", std::make_shared<ModuleSeries<Transformer2DModel>>());
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const std::int64_t in = layer == 0 ? in_channels : out_channels;
    resnets_->append(std::make_shared<ResnetBlock2D>(in, out_channels, shape.num_groups, shape.eps, shape.time_width));
    if (attentions_)
      attentions_->append(std::make_shared<Transformer2DModel>(out_channels, shape.heads, shape.context_width, shape.num_groups));
    layers_.push_back(layer_of(resnets_, attentions_));
  }
  if (!downsample) return;
  downsamplers_ = register_module("downsamplers", std::make_shared<ModuleSeries<Downsample2D>>());
  downsamplers_->append(std::make_shared<Downsample2D>(out_channels, 1));
}

Tensor UNetDownBlock::forward(Tensor x, const Tensor& activated_time, const Tensor& context, std::vector<Tensor>& skips,
                              Activations activations) const {
  for (const auto& layer : layers_) skips.push_back(x = layer.forward({x}, activated_time, context, activations));
  if (downsamplers_) skips.push_back(x = (*downsamplers_)[0].forward(x));
  return x;
}

UNetMidBlock::UNetMidBlock(std::int64_t channels, const UNetBlockShape& shape) {
  resnets_ = register_module("resnets", std::make_shared<ModuleSeries<ResnetBlock2D>>());
  attentions_ = register_module("attentions", std::make_shared<ModuleSeries<Transformer2DModel>>());
  resnets_->append(std::make_shared<ResnetBlock2D>(channels, channels, shape.num_groups, shape.eps, shape.time_width));
  attentions_->append(std::make_shared<Transformer2DModel>(channels, shape.heads, shape.context_width, shape.num_groups));
  layers_.push_back(layer_of(resnets_, attentions_));
  resnets_->append(std::make_shared<ResnetBlock2D>(channels, channels, shape.num_groups, shape.eps, shape.time_width));
  layers_.push_back(layer_of(resnets_, nullptr));
}

Tensor UNetMidBlock::forward(const Tensor& x, const Tensor& activated_time, const Tensor& context, Activations activations) const {
  const Tensor hidden = layers_[0].forward({x}, activated_time, context, activations);
  return layers_[1].forward({hidden}, activated_time, context, activations);
}

UNetUpBlock::UNetUpBlock(std::int64_t in_channels, std::int64_t out_channels, const std::vector<std::int64_t>& skip_channels, bool upsample,
                         const UNetBlockShape& shape) {
  resnets_ = register_module("resnets", std::make_shared<ModuleSeries<ResnetBlock2D>>());
  if (shape.attention) attentions_ = register_module("attentions", std::make_shared<ModuleSeries<Transformer2DModel>>());
  std::int64_t in = in_channels;
  for (const auto skip : skip_channels) {
    resnets_->append(std::make_shared<ResnetBlock2D>(in + skip, out_channels, shape.num_groups, shape.eps, shape.time_width));
    if (attentions_)
      attentions_->append(std::make_shared<Transformer2DModel>(out_channels, shape.heads, shape.context_width, shape.num_groups));
    layers_.push_back(layer_of(resnets_, attentions_));
    in = out_channels;
  }
  if (!upsample) return;
  upsamplers_ = register_module("upsamplers", std::make_shared<ModuleSeries<Upsample2D>>());
  upsamplers_->append(std::make_shared<Upsample2D>(out_channels));
}

Tensor UNetUpBlock::forward(Tensor x, const Tensor& activated_time, const Tensor& context, std::vector<Tensor>& skips,
                            Activations activations) const {
  for (const auto& layer : layers_) {
    x = layer.forward({x, skips.back()}, activated_time, context, activations);
    skips.pop_back();
  }
  if (!upsamplers_) return x;
  // Latents that do not halve evenly: the next block's skip says how large the picture was.
  return (*upsamplers_)[0].forward(x, std::pair{skips.back().size(2), skips.back().size(3)});
}

}  // namespace nabla
