#include "learner/flow_network.h"

#include "common/diffusion/initialization.h"
#include "common/error.h"

#include <torch/types.h>

namespace nabla {

namespace {

// Keeps the flow's streams apart from those of the LoRA, which are drawn from the run seed itself.
constexpr std::uint64_t kFlowSeed = 0x666c6f77;  // "flow"

void require_width(std::int64_t width, std::int64_t divisor, const char* what) {
  if (width % divisor == 0) return;
  throw usage_error("[learner] model.flow_channel_width has {}, which the base model's {} {} do not divide; use multiples of {}", width,
                    divisor, what, divisor);
}

}  // namespace

UNetConfig flow_config(const UNetConfig& base, const ModelConfig& model) {
  UNetConfig config = base;
  const std::size_t blocks = model.flow_channel_width.size();
  config.out_channels = base.in_channels;
  config.block_out_channels = model.flow_channel_width;
  config.layers_per_block = model.flow_layers_per_block;
  config.num_heads.assign(blocks, base.num_heads.front());
  config.down_block_types.assign(blocks, "CrossAttnDownBlock2D");
  config.up_block_types.assign(blocks, "CrossAttnUpBlock2D");
  config.down_block_types.back() = "DownBlock2D";
  config.up_block_types.front() = "UpBlock2D";
  for (const auto width : config.block_out_channels) {
    require_width(width, config.norm_num_groups, "norm groups");
    require_width(width, config.num_heads.front(), "attention heads");
  }
  return config;
}

FlowOutput flow_output_from_name(const std::string& name) {
  if (name == "zero") return FlowOutput::kZero;
  if (name == "default_weight") return FlowOutput::kDefaultWeight;
  throw usage_error("[learner] compat.flow_out_init is '{}'; known are zero and default_weight", name);
}

std::shared_ptr<UNet2DConditionModel> make_flow_network(const UNetConfig& base, const ModelConfig& model, std::uint64_t seed,
                                                        FlowOutput output) {
  auto network = std::make_shared<UNet2DConditionModel>(flow_config(base, model));
  initialize_parameters(*network, seed ^ (kFlowSeed << 32));
  const at::NoGradGuard no_grad;
  for (auto& item : network->named_parameters()) {
    const bool starts_at_zero = item.key() == "conv_out.bias" || (item.key() == "conv_out.weight" && output == FlowOutput::kZero);
    if (starts_at_zero) item.value().zero_();
  }
  return network;
}

}  // namespace nabla
