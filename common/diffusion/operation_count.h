#pragma once

#include "common/diffusion/unet.h"
#include "common/diffusion/vae.h"

namespace nabla {

// Floating point operations (2 a multiply-add) of convolutions, linear layers and attention in one forward pass of one picture, counted from the shapes of a
// network's own layers: nothing is computed, and weights need not be set. The network must run without a LoRA.

// Latents of height x width, a prompt of `tokens`.
double forward_flop(const UNet2DConditionModel& unet, std::int64_t height, std::int64_t width, std::int64_t tokens);
// Decoding latents of height x width.
double decode_flop(const AutoencoderKL& vae, std::int64_t height, std::int64_t width);

}  // namespace nabla
