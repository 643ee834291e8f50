#include "common/diffusion/unet.h"

#include "common/diffusion/unet_blocks.h"
#include "common/error.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <cmath>

namespace nabla {

namespace {

constexpr double kTimePeriod = 10000.0;

// [cos, sin] of t * exp(-ln(10000) i / (half - shift)), all in float32 as diffusers computes it (float64 parity needs the same rounding).
Tensor time_frequencies(std::int64_t width, double freq_shift) {
  const std::int64_t half = width / 2;
  Tensor exponent = at::arange(0, half, at::kFloat) * -std::log(kTimePeriod);
  exponent = exponent / (static_cast<double>(half) - freq_shift);
  return at::exp(exponent);
}

Tensor time_projection(const Tensor& timestep, const Tensor& frequencies, bool flip_sin_to_cos) {
  const Tensor angle = timestep.to(at::kFloat).unsqueeze(1) * frequencies.unsqueeze(0);
  return flip_sin_to_cos ? at::cat({angle.cos(), angle.sin()}, 1) : at::cat({angle.sin(), angle.cos()}, 1);
}

// linear_1, SiLU, linear_2.
class TimestepEmbedding : public torch::nn::Module {
 public:
  TimestepEmbedding(std::int64_t in_width, std::int64_t width) {
    linear_1_ = register_module("linear_1", std::make_shared<LoraLinear>(in_width, width, true));
    linear_2_ = register_module("linear_2", std::make_shared<LoraLinear>(width, width, true));
  }
  Tensor forward(const Tensor& x) const { return linear_2_->forward(at::silu(linear_1_->forward(x))); }
  at::ScalarType dtype() const { return linear_1_->weight.scalar_type(); }

 private:
  std::shared_ptr<LoraLinear> linear_1_, linear_2_;
};

}  // namespace

struct UNet2DConditionModel::Layers {
  Tensor frequencies;
  std::shared_ptr<Conv2d> conv_in, conv_out;
  std::shared_ptr<TimestepEmbedding> time_embedding;
  std::shared_ptr<ModuleSeries<UNetDownBlock>> down_blocks;
  std::shared_ptr<UNetMidBlock> mid_block;
  std::shared_ptr<ModuleSeries<UNetUpBlock>> up_blocks;
  std::shared_ptr<GroupNorm> conv_norm_out;
};

namespace {

UNetBlockShape block_shape(const UNetConfig& config, std::size_t level, bool attention) {
  return {.num_groups = config.norm_num_groups,
          .time_width = 4 * config.block_out_channels.front(),
          .context_width = config.cross_attention_dim,
          .heads = config.num_heads[level],
          .eps = config.norm_eps,
          .attention = attention};
}

// Channels of the skips in the order in which the down path pushes them.
std::vector<std::int64_t> skip_channels(const UNetConfig& config) {
  std::vector<std::int64_t> skips{config.block_out_channels.front()};
  for (std::size_t level = 0; level < config.block_out_channels.size(); ++level) {
    const bool last = level + 1 == config.block_out_channels.size();
    skips.insert(skips.end(), static_cast<std::size_t>(config.layers_per_block + (last ? 0 : 1)), config.block_out_channels[level]);
  }
  return skips;
}

std::shared_ptr<ModuleSeries<UNetDownBlock>> make_down_blocks(const UNetConfig& config) {
  auto blocks = std::make_shared<ModuleSeries<UNetDownBlock>>();
  std::int64_t channels = config.block_out_channels.front();
  for (std::size_t level = 0; level < config.block_out_channels.size(); ++level) {
    const std::int64_t out = config.block_out_channels[level];
    const bool attention = config.down_block_types[level] == "CrossAttnDownBlock2D";
    const bool last = level + 1 == config.block_out_channels.size();
    blocks->append(std::make_shared<UNetDownBlock>(channels, out, config.layers_per_block, !last, block_shape(config, level, attention)));
    channels = out;
  }
  return blocks;
}

std::shared_ptr<ModuleSeries<UNetUpBlock>> make_up_blocks(const UNetConfig& config) {
  auto blocks = std::make_shared<ModuleSeries<UNetUpBlock>>();
  std::vector<std::int64_t> skips = skip_channels(config);
  std::int64_t channels = config.block_out_channels.back();
  const std::size_t levels = config.block_out_channels.size();
  for (std::size_t i = 0; i < levels; ++i) {
    const std::size_t level = levels - 1 - i;
    const std::int64_t out = config.block_out_channels[level];
    std::vector<std::int64_t> own;
    for (std::int64_t layer = 0; layer <= config.layers_per_block; ++layer) {
      own.push_back(skips.back());
      skips.pop_back();
    }
    const bool attention = config.up_block_types[i] == "CrossAttnUpBlock2D";
    blocks->append(std::make_shared<UNetUpBlock>(channels, out, own, i + 1 < levels, block_shape(config, level, attention)));
    channels = out;
  }
  return blocks;
}

}  // namespace

UNet2DConditionModel::UNet2DConditionModel(const UNetConfig& config) : config_(config), layers_(std::make_unique<Layers>()) {
  Layers& net = *layers_;
  const std::int64_t first = config.block_out_channels.front();
  net.frequencies = time_frequencies(first, config.freq_shift);
  net.conv_in = register_module("conv_in", std::make_shared<Conv2d>(config.in_channels, first, Conv2d::Options{}));
  net.time_embedding = register_module("time_embedding", std::make_shared<TimestepEmbedding>(first, 4 * first));
  net.down_blocks = register_module("down_blocks", make_down_blocks(config));
  net.mid_block = register_module("mid_block", std::make_shared<UNetMidBlock>(config.block_out_channels.back(),
                                                                              block_shape(config, config.num_heads.size() - 1, true)));
  net.up_blocks = register_module("up_blocks", make_up_blocks(config));
  net.conv_norm_out = register_module("conv_norm_out", std::make_shared<GroupNorm>(config.norm_num_groups, first, config.norm_eps));
  net.conv_out = register_module("conv_out", std::make_shared<Conv2d>(first, config.out_channels, Conv2d::Options{}));
}

UNet2DConditionModel::~UNet2DConditionModel() = default;

Tensor UNet2DConditionModel::forward(const Tensor& sample, const Tensor& timestep, const Tensor& encoder_hidden_states) {
  Layers& net = *layers_;
  if (net.frequencies.device() != sample.device()) net.frequencies = net.frequencies.to(sample.device());
  const Tensor projected = time_projection(timestep, net.frequencies, config_.flip_sin_to_cos);
  const Tensor time = at::silu(net.time_embedding->forward(projected.to(net.time_embedding->dtype())));
  Tensor hidden = net.conv_in->forward(sample.contiguous(at::MemoryFormat::ChannelsLast));
  std::vector<Tensor> skips{hidden};
  for (std::size_t i = 0; i < net.down_blocks->size(); ++i)
    hidden = (*net.down_blocks)[i].forward(hidden, time, encoder_hidden_states, skips, activations_);
  hidden = net.mid_block->forward(hidden, time, encoder_hidden_states, activations_);
  for (std::size_t i = 0; i < net.up_blocks->size(); ++i)
    hidden = (*net.up_blocks)[i].forward(hidden, time, encoder_hidden_states, skips, activations_);
  return net.conv_out->forward(net.conv_norm_out->activated(hidden)).contiguous();
}

}  // namespace nabla
