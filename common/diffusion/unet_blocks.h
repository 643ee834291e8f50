#pragma once

#include "common/diffusion/attention.h"
#include "common/diffusion/checkpoint.h"
#include "common/diffusion/resnet_block.h"
#include "common/diffusion/unet.h"

#include <vector>

namespace nabla {

struct UNetBlockShape {
  std::int64_t num_groups = 32, time_width = 0, context_width = 0, heads = 8;
  double eps = 1e-5;
  bool attention = false;  // CrossAttn blocks
};

// A layer of a block: a ResnetBlock2D and, in CrossAttn blocks, the Transformer2DModel behind it.
class UNetLayer {
 public:
  UNetLayer(ResnetBlock2D& resnet, Transformer2DModel* attention);
  // x: tensors whose channels follow each other.
  Tensor forward(const std::vector<Tensor>& x, const Tensor& activated_time, const Tensor& context, Activations activations) const;

 private:
  ResnetBlock2D& resnet_;
  Transformer2DModel* attention_;
  std::vector<LoraLayer*> lora_layers_;
};

// DownBlock2D and CrossAttnDownBlock2D.
class UNetDownBlock : public torch::nn::Module {
 public:
  UNetDownBlock(std::int64_t in_channels, std::int64_t out_channels, std::int64_t layers, bool downsample, const UNetBlockShape& shape);
  // Pushes every output that an up block will skip to.
  Tensor forward(Tensor x, const Tensor& activated_time, const Tensor& context, std::vector<Tensor>& skips, Activations activations) const;

 private:
  std::shared_ptr<ModuleSeries<ResnetBlock2D>> resnets_;
  std::shared_ptr<ModuleSeries<Transformer2DModel>> attentions_;
  std::vector<UNetLayer> layers_;
  std::shared_ptr<ModuleSeries<Downsample2D>> downsamplers_;
};

// UNetMidBlock2DCrossAttn.
class UNetMidBlock : public torch::nn::Module {
 public:
  UNetMidBlock(std::int64_t channels, const UNetBlockShape& shape);
  Tensor forward(const Tensor& x, const Tensor& activated_time, const Tensor& context, Activations activations) const;

 private:
  std::shared_ptr<ModuleSeries<ResnetBlock2D>> resnets_;
  std::shared_ptr<ModuleSeries<Transformer2DModel>> attentions_;
  std::vector<UNetLayer> layers_;
};

// UpBlock2D and CrossAttnUpBlock2D.
class UNetUpBlock : public torch::nn::Module {
 public:
  // skip_channels: of each layer's skip, in the order in which they are popped.
  UNetUpBlock(std::int64_t in_channels, std::int64_t out_channels, const std::vector<std::int64_t>& skip_channels, bool upsample,
              const UNetBlockShape& shape);
  Tensor forward(Tensor x, const Tensor& activated_time, const Tensor& context, std::vector<Tensor>& skips, Activations activations) const;

 private:
  std::shared_ptr<ModuleSeries<ResnetBlock2D>> resnets_;
  std::shared_ptr<ModuleSeries<Transformer2DModel>> attentions_;
  std::vector<UNetLayer> layers_;
  std::shared_ptr<ModuleSeries<Upsample2D>> upsamplers_;
};

}  // namespace nabla
