#pragma once

#include "common/config/run_config.h"
#include "common/diffusion/unet.h"

#include <cstdint>
#include <memory>

namespace nabla {

// The flow network g_phi(x, t, prompt): a UNet2DConditionModel with model.flow_channel_width and model.flow_layers_per_block whose channels, context
// width, heads and norm groups are the base model's.
UNetConfig flow_config(const UNetConfig& base, const ModelConfig& model);

// Fresh weights as torch makes them (uniform within 1/sqrt(fan-in), norms 1 and 0), drawn from streams of the run seed; conv_out is zero, weight
// and bias, so that g_phi is 0 at the start.
std::shared_ptr<UNet2DConditionModel> make_flow_network(const UNetConfig& base, const ModelConfig& model, std::uint64_t seed);

}  // namespace nabla
