#pragma once

#include <cstdint>
#include <string>

namespace nabla {

// What `nabla pretrain` is asked to do; the defaults, with out = assets/pocket, made the embedded model.
struct PretrainOptions {
  std::string out = "runs/pretrain/model";    // the finished model in diffusers' layout
  std::string work = "runs/pretrain";         // checkpoints, latents, logs; training resumes from here
  std::uint64_t seed = 1;
  int threads = 1;
  std::int64_t vae_steps = 2400, unet_steps = 7000, reward_steps = 1500, checker_steps = 2500;
  std::int64_t latent_pictures = 40000;       // rendered and encoded once for the UNet's training
  std::int64_t checkpoint_every = 250;
  std::int64_t captions = 512;                // of the quality check
};

}  // namespace nabla
