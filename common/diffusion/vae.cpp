#include "common/diffusion/vae.h"

#include "common/diffusion/attention.h"
#include "common/diffusion/resnet_block.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace nabla {

namespace {

constexpr double kVaeNormEps = 1e-6;

std::shared_ptr<ResnetBlock2D> vae_resnet(std::int64_t in, std::int64_t out, const VaeConfig& config) {
  return std::make_shared<ResnetBlock2D>(in, out, config.norm_num_groups, kVaeNormEps, std::nullopt);
}

class VaeMidBlock : public torch::nn::Module {
 public:
  VaeMidBlock(std::int64_t channels, const VaeConfig& config) {
    resnets_ = register_module("resnets", std::make_shared<ModuleSeries<ResnetBlock2D>>());
    attentions_ = register_module("attentions", std::make_shared<ModuleSeries<VaeAttention>>());
    resnets_->append(vae_resnet(channels, channels, config));
    attentions_->append(std::make_shared<VaeAttention>(channels, config.norm_num_groups, kVaeNormEps));
    resnets_->append(vae_resnet(channels, channels, config));
  }
  Tensor forward(const Tensor& x) const { return (*resnets_)[1].forward((*attentions_)[0].forward((*resnets_)[0].forward(x, {})), {}); }

 private:
  std::shared_ptr<ModuleSeries<ResnetBlock2D>> resnets_;
  std::shared_ptr<ModuleSeries<VaeAttention>> attentions_;
};

// DownEncoderBlock2D.
class EncoderBlock : public torch::nn::Module {
 public:
  EncoderBlock(std::int64_t in, std::int64_t out, bool downsample, const VaeConfig& config) {
    resnets_ = register_module("resnets", std::make_shared<ModuleSeries<ResnetBlock2D>>());
    for (std::int64_t layer = 0; layer < config.layers_per_block; ++layer) resnets_->append(vae_resnet(layer == 0 ? in : out, out, config));
    if (!downsample) return;
    downsamplers_ = register_module("downsamplers", std::make_shared<ModuleSeries<Downsample2D>>());
    downsamplers_->append(std::make_shared<Downsample2D>(out, 0));
  }
  Tensor forward(Tensor x) const {
    for (std::size_t i = 0; i < resnets_->size(); ++i) x = (*resnets_)[i].forward(x, {});
    return downsamplers_ ? (*downsamplers_)[0].forward(x) : x;
  }

 private:
  std::shared_ptr<ModuleSeries<ResnetBlock2D>> resnets_;
  std::shared_ptr<ModuleSeries<Downsample2D>> downsamplers_;
};

// UpDecoderBlock2D: one layer more than the encoder's.
class DecoderBlock : public torch::nn::Module {
 public:
  DecoderBlock(std::int64_t in, std::int64_t out, bool upsample, const VaeConfig& config) {
    resnets_ = register_module("resnets", std::make_shared<ModuleSeries<ResnetBlock2D>>());
    for (std::int64_t layer = 0; layer <= config.layers_per_block; ++layer)
      resnets_->append(vae_resnet(layer == 0 ? in : out, out, config));
    if (!upsample) return;
    upsamplers_ = register_module("upsamplers", std::make_shared<ModuleSeries<Upsample2D>>());
    upsamplers_->append(std::make_shared<Upsample2D>(out));
  }
  Tensor forward(Tensor x) const {
    for (std::size_t i = 0; i < resnets_->size(); ++i) x = (*resnets_)[i].forward(x, {});
    return upsamplers_ ? (*upsamplers_)[0].forward(x, std::nullopt) : x;
  }

 private:
  std::shared_ptr<ModuleSeries<ResnetBlock2D>> resnets_;
  std::shared_ptr<ModuleSeries<Upsample2D>> upsamplers_;
};

class Encoder : public torch::nn::Module {
 public:
  explicit Encoder(const VaeConfig& config) {
    const auto& widths = config.block_out_channels;
    conv_in_ = register_module("conv_in", std::make_shared<Conv2d>(config.in_channels, widths.front(), Conv2d::Options{}));
    down_blocks_ = register_module("down_blocks", std::make_shared<ModuleSeries<EncoderBlock>>());
    for (std::size_t i = 0; i < widths.size(); ++i) {
      down_blocks_->append(std::make_shared<EncoderBlock>(i == 0 ? widths[0] : widths[i - 1], widths[i], i + 1 < widths.size(), config));
    }
    mid_block_ = register_module("mid_block", std::make_shared<VaeMidBlock>(widths.back(), config));
    conv_norm_out_ = register_module("conv_norm_out", std::make_shared<GroupNorm>(config.norm_num_groups, widths.back(), kVaeNormEps));
    conv_out_ = register_module("conv_out", std::make_shared<Conv2d>(widths.back(), 2 * config.latent_channels, Conv2d::Options{}));
  }
  Tensor forward(const Tensor& image) const {
    Tensor x = conv_in_->forward(image);
    for (std::size_t i = 0; i < down_blocks_->size(); ++i) x = (*down_blocks_)[i].forward(x);
    return conv_out_->forward(conv_norm_out_->activated(mid_block_->forward(x)));
  }

 private:
  std::shared_ptr<Conv2d> conv_in_, conv_out_;
  std::shared_ptr<ModuleSeries<EncoderBlock>> down_blocks_;
  std::shared_ptr<VaeMidBlock> mid_block_;
  std::shared_ptr<GroupNorm> conv_norm_out_;
};

class Decoder : public torch::nn::Module {
 public:
  explicit Decoder(const VaeConfig& config) {
    const std::vector<std::int64_t> widths(config.block_out_channels.rbegin(), config.block_out_channels.rend());
    conv_in_ = register_module("conv_in", std::make_shared<Conv2d>(config.latent_channels, widths.front(), Conv2d::Options{}));
    mid_block_ = register_module("mid_block", std::make_shared<VaeMidBlock>(widths.front(), config));
    up_blocks_ = register_module("up_blocks", std::make_shared<ModuleSeries<DecoderBlock>>());
    for (std::size_t i = 0; i < widths.size(); ++i) {
      up_blocks_->append(std::make_shared<DecoderBlock>(i == 0 ? widths[0] : widths[i - 1], widths[i], i + 1 < widths.size(), config));
    }
    conv_norm_out_ = register_module("conv_norm_out", std::make_shared<GroupNorm>(config.norm_num_groups, widths.back(), kVaeNormEps));
    conv_out_ = register_module("conv_out", std::make_shared<Conv2d>(widths.back(), config.out_channels, Conv2d::Options{}));
  }
  Tensor forward(const Tensor& latents) const {
    Tensor x = mid_block_->forward(conv_in_->forward(latents));
    for (std::size_t i = 0; i < up_blocks_->size(); ++i) x = (*up_blocks_)[i].forward(x);
    return conv_out_->forward(conv_norm_out_->activated(x));
  }

 private:
  std::shared_ptr<Conv2d> conv_in_, conv_out_;
  std::shared_ptr<VaeMidBlock> mid_block_;
  std::shared_ptr<ModuleSeries<DecoderBlock>> up_blocks_;
  std::shared_ptr<GroupNorm> conv_norm_out_;
};

}  // namespace

struct AutoencoderKL::Layers {
  std::shared_ptr<Encoder> encoder;
  std::shared_ptr<Decoder> decoder;
  std::shared_ptr<Conv2d> quant_conv, post_quant_conv;
};

AutoencoderKL::AutoencoderKL(const VaeConfig& config) : config_(config), layers_(std::make_unique<Layers>()) {
  const Conv2d::Options pointwise{.kernel = 1, .padding = 0};
  const std::int64_t latent = config.latent_channels;
  layers_->encoder = register_module("encoder", std::make_shared<Encoder>(config));
  layers_->decoder = register_module("decoder", std::make_shared<Decoder>(config));
  layers_->quant_conv = register_module("quant_conv", std::make_shared<Conv2d>(2 * latent, 2 * latent, pointwise));
  layers_->post_quant_conv = register_module("post_quant_conv", std::make_shared<Conv2d>(latent, latent, pointwise));
}

AutoencoderKL::~AutoencoderKL() = default;

AutoencoderKL::Moments AutoencoderKL::encode(const Tensor& image) {
  const Tensor encoded = layers_->encoder->forward(image.contiguous(at::MemoryFormat::ChannelsLast));
  const auto moments = layers_->quant_conv->forward(encoded).contiguous().chunk(2, 1);
  return {moments[0], moments[1].clamp(-30.0, 20.0)};
}

Tensor AutoencoderKL::decode(const Tensor& latents) {
  const Tensor pixels = layers_->post_quant_conv->forward(latents.contiguous(at::MemoryFormat::ChannelsLast));
  return layers_->decoder->forward(pixels).contiguous();
}

Tensor decode_image(AutoencoderKL& vae, const Tensor& latents) {
  const Tensor input = (latents / vae.config().scaling_factor).to(vae.parameters().front().scalar_type());
  return (at_least_float(vae.decode(input)) / 2 + 0.5).clamp(0.0, 1.0);
}

Tensor decode_image_sliced(AutoencoderKL& vae, const Tensor& latents, std::int64_t rows_at_once) {
  const at::NoGradGuard no_grad;
  if (rows_at_once == 0 || rows_at_once >= latents.size(0)) return decode_image(vae, latents);
  std::vector<Tensor> images;
  for (const Tensor& slice : latents.split(rows_at_once)) images.push_back(decode_image(vae, slice));
  return at::cat(images);
}

}  // namespace nabla
