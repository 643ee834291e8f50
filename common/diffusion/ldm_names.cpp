#include "common/diffusion/ldm_names.h"

#include <fmt/format.h>

namespace nabla {

namespace {

// The counterpart of the longest leading part of a name that has one, with the rest of the name behind it.
std::optional<std::string> renamed(const std::string& name, const std::map<std::string, std::string>& modules) {
  for (std::size_t end = name.size(); end != std::string::npos && end > 0; end = name.rfind('.', end - 1)) {
    if (const auto found = modules.find(name.substr(0, end)); found != modules.end()) return found->second + name.substr(end);
  }
  return std::nullopt;
}

}  // namespace

void LdmNames::add(const std::string& diffusers, const std::string& ldm) {
  ldm_by_diffusers_[diffusers] = ldm;
  diffusers_by_ldm_[ldm] = diffusers;
}

void LdmNames::add_unet_resnet(const std::string& diffusers, const std::string& ldm) {
  add(diffusers + ".norm1", ldm + ".in_layers.0");
  add(diffusers + ".conv1", ldm + ".in_layers.2");
  add(diffusers + ".time_emb_proj", ldm + ".emb_layers.1");
  add(diffusers + ".norm2", ldm + ".out_layers.0");
  add(diffusers + ".conv2", ldm + ".out_layers.3");
  add(diffusers + ".conv_shortcut", ldm + ".skip_connection");
}

void LdmNames::add_vae_resnet(const std::string& diffusers, const std::string& ldm) {
  for (const char* same : {".norm1", ".conv1", ".norm2", ".conv2"}) add(diffusers + same, ldm + same);
  add(diffusers + ".conv_shortcut", ldm + ".nin_shortcut");
}

LdmNames LdmNames::of_unet(const UNetConfig& config) {
  LdmNames names(kLdmUnetPrefix);
  const std::size_t levels = config.block_out_channels.size();
  const auto layers = static_cast<std::size_t>(config.layers_per_block);
  names.add("time_embedding.linear_1", "time_embed.0");
  names.add("time_embedding.linear_2", "time_embed.2");
  names.add("conv_in", "input_blocks.0.0");
  names.add("conv_norm_out", "out.0");
  names.add("conv_out", "out.2");
  for (std::size_t i = 0; i < levels; ++i) {
    const std::string down = fmt::format("down_blocks.{}", i), up = fmt::format("up_blocks.{}", i);
    const std::size_t stride = layers + 1;
    for (std::size_t j = 0; j < layers; ++j) {
      const std::string block = fmt::format("input_blocks.{}", stride * i + j + 1);
      names.add_unet_resnet(fmt::format("{}.resnets.{}", down, j), block + ".0");
      names.add(fmt::format("{}.attentions.{}", down, j), block + ".1");
    }
    names.add(down + ".downsamplers.0.conv", fmt::format("input_blocks.{}.0.op", stride * (i + 1)));
    const bool attention = config.up_block_types[i] == "CrossAttnUpBlock2D";
    for (std::size_t j = 0; j <= layers; ++j) {
      const std::string block = fmt::format("output_blocks.{}", stride * i + j);
      names.add_unet_resnet(fmt::format("{}.resnets.{}", up, j), block + ".0");
      if (attention) names.add(fmt::format("{}.attentions.{}", up, j), block + ".1");
    }
    names.add(up + ".upsamplers.0", fmt::format("output_blocks.{}.{}", stride * i + layers, attention ? 2 : 1));
  }
  names.add_unet_resnet("mid_block.resnets.0", "middle_block.0");
  names.add("mid_block.attentions.0", "middle_block.1");
  names.add_unet_resnet("mid_block.resnets.1", "middle_block.2");
  return names;
}

LdmNames LdmNames::of_vae(const VaeConfig& config) {
  LdmNames names(kLdmVaePrefix);
  const std::size_t levels = config.block_out_channels.size();
  const auto layers = static_cast<std::size_t>(config.layers_per_block);
  for (const char* same : {"quant_conv", "post_quant_conv"}) names.add(same, same);
  for (const std::string side : {"encoder", "decoder"}) {
    for (const char* same : {".conv_in", ".conv_out"}) names.add(side + same, side + same);
    names.add(side + ".conv_norm_out", side + ".norm_out");
    names.add_vae_resnet(side + ".mid_block.resnets.0", side + ".mid.block_1");
    names.add_vae_resnet(side + ".mid_block.resnets.1", side + ".mid.block_2");
    for (const auto& [diffusers, ldm] :
         {std::pair{"group_norm", "norm"}, {"to_q", "q"}, {"to_k", "k"}, {"to_v", "v"}, {"to_out.0", "proj_out"}})
      names.add(fmt::format("{}.mid_block.attentions.0.{}", side, diffusers), fmt::format("{}.mid.attn_1.{}", side, ldm));
  }
  for (std::size_t i = 0; i < levels; ++i) {
    const std::string down = fmt::format("encoder.down_blocks.{}", i), ldm_down = fmt::format("encoder.down.{}", i);
    const std::string up = fmt::format("decoder.up_blocks.{}", i), ldm_up = fmt::format("decoder.up.{}", levels - 1 - i);
    for (std::size_t j = 0; j < layers; ++j)
      names.add_vae_resnet(fmt::format("{}.resnets.{}", down, j), fmt::format("{}.block.{}", ldm_down, j));
    for (std::size_t j = 0; j <= layers; ++j)
      names.add_vae_resnet(fmt::format("{}.resnets.{}", up, j), fmt::format("{}.block.{}", ldm_up, j));
    names.add(down + ".downsamplers.0", ldm_down + ".downsample");
    names.add(up + ".upsamplers.0", ldm_up + ".upsample");
  }
  return names;
}

LdmNames LdmNames::of_text_encoder() {
  LdmNames names(kLdmTextPrefix);
  for (const char* same : {"text_model", "embeddings", "encoder", "final_layer_norm"}) names.add(same, same);
  return names;
}

std::optional<std::string> LdmNames::to_ldm(const std::string& name) const {
  const auto found = renamed(name, ldm_by_diffusers_);
  return found ? std::optional(prefix_ + *found) : std::nullopt;
}

std::optional<std::string> LdmNames::to_diffusers(const std::string& name) const {
  return name.starts_with(prefix_) ? renamed(name.substr(prefix_.size()), diffusers_by_ldm_) : std::nullopt;
}

}  // namespace nabla
