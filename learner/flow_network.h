#pragma once

#include "common/config/run_config.h"
#include "common/diffusion/unet.h"

#include <cstdint>
#include <memory>
#include <string>

namespace nabla {

// The flow network g_phi(x, t, prompt): a UNet2DConditionModel with model.flow_channel_width and model.flow_layers_per_block whose channels, context
// width, heads and norm groups are the base model's.
UNetConfig flow_config(const UNetConfig& base, const ModelConfig& model);

// How a fresh network's last layer starts: with weight and bias zero, so that g_phi is 0 at the start, or with its bias zero alone.
enum class FlowOutput { kZero, kDefaultWeight };
FlowOutput flow_output_from_name(const std::string& name);  // zero | default_weight (compat.flow_out_init); usage_error

// Fresh weights as torch makes them (uniform within 1/sqrt(fan-in), norms 1 and 0), drawn from streams of the run seed.
std::shared_ptr<UNet2DConditionModel> make_flow_network(const UNetConfig& base, const ModelConfig& model, std::uint64_t seed,
                                                        FlowOutput output = FlowOutput::kZero);

}  // namespace nabla
