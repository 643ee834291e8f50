#pragma once

#include "common/diffusion/clip_text.h"
#include "common/diffusion/clip_vision.h"
#include "common/diffusion/unet.h"
#include "common/diffusion/vae.h"

namespace nabla {

// The published sizes of Stable Diffusion v1.5, of the tower of CLIP ViT-L/14 that scores its pictures, and of the release's flow network.
UNetConfig stable_diffusion_unet();
VaeConfig stable_diffusion_vae();
ClipTextConfig stable_diffusion_text_encoder();
ClipVisionConfig clip_l_vision();
UNetConfig official_flow_network();

// Latents of a 512x512 picture and tokens of a prompt.
inline constexpr std::int64_t kStableDiffusionLatentSide = 64, kStableDiffusionTokens = 77;

}  // namespace nabla
