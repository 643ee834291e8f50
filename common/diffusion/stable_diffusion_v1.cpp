#include "common/diffusion/stable_diffusion_v1.h"

namespace nabla {

UNetConfig stable_diffusion_unet() {
  UNetConfig config;
  config.cross_attention_dim = 768;
  return config;
}

VaeConfig stable_diffusion_vae() {
  VaeConfig config;
  config.block_out_channels = {128, 256, 512, 512};
  config.layers_per_block = 2;
  config.sample_size = 512;
  return config;
}

ClipTextConfig stable_diffusion_text_encoder() {
  ClipTextConfig config;
  config.hidden_size = 768;
  config.intermediate_size = 3072;
  config.num_attention_heads = 12;
  return config;
}

ClipVisionConfig clip_l_vision() {
  ClipVisionConfig config;
  config.patch_size = 14;
  config.hidden_size = 1024;
  config.intermediate_size = 4096;
  config.num_hidden_layers = 24;
  config.num_attention_heads = 16;
  config.projection_dim = 768;
  return config;
}

UNetConfig official_flow_network() {
  UNetConfig config = stable_diffusion_unet();
  config.block_out_channels = {64, 128, 256, 256};
  config.layers_per_block = 1;
  return config;
}

}  // namespace nabla
