#pragma once

#include "common/diffusion/transition_kernel.h"
#include "common/diffusion/unet.h"

namespace nabla {

// A U-Net of two levels with a few thousand weights.
inline UNetConfig tiny_unet_config(std::int64_t sample_size, std::int64_t cross_attention_dim) {
  UNetConfig config;
  config.sample_size = sample_size;
  config.down_block_types = {"CrossAttnDownBlock2D", "DownBlock2D"};
  config.up_block_types = {"UpBlock2D", "CrossAttnUpBlock2D"};
  config.block_out_channels = {4, 8};
  config.layers_per_block = 1;
  config.cross_attention_dim = cross_attention_dim;
  config.norm_num_groups = 2;
  config.num_heads = {2, 2};
  return config;
}

// The noise schedule of Stable Diffusion v1.5.
inline SchedulerConfig stable_diffusion_schedule() {
  SchedulerConfig config;
  config.beta_start = 0.00085;
  config.beta_end = 0.012;
  config.beta_schedule = "scaled_linear";
  config.steps_offset = 1;
  config.set_alpha_to_one = config.clip_sample = false;
  return config;
}

}  // namespace nabla
