#pragma once

#include "common/diffusion/tensors.h"
#include "launch/pretrain/pretrain_options.h"

#include <string>
#include <vector>

namespace nabla {

// Trains the pocket VAE, then UNet and text encoder together, from nothing, and writes the folder options.out in diffusers' layout. Resumes from
// options.work; the parts can be run one by one.
int train_vae(const PretrainOptions& options);
int train_unet(const PretrainOptions& options);

// Pictures of scenes `indices` of the world `seed` as [N,3,32,32] in [0,1].
Tensor render_pictures(std::uint64_t seed, const std::vector<std::uint64_t>& indices);

// Indices from here on are never trained on.
inline constexpr std::uint64_t kHeldOutPictures = std::uint64_t{1} << 40;

}  // namespace nabla
