#pragma once

#include "common/diffusion/unet.h"
#include "launch/probe/probe.h"

#include <memory>

namespace nabla {

// The flow network of options.flow, frozen: a folder with config.json and weights, or a file of weights with config.json beside it. data_error if
// options.model is named and its UNet takes other latents or contexts.
std::shared_ptr<UNet2DConditionModel> load_flow_network(const ProbeOptions& options);

}  // namespace nabla
