#include "common/diffusion/operation_count.h"

#include "common/diffusion/layers.h"

#include <torch/types.h>

#include <functional>

namespace nabla {

namespace {

bool contains(const std::string& name, std::string_view part) { return name.find(part) != std::string::npos; }

// The number behind a prefix: 2 of "up_blocks.2.resnets.0" behind "up_blocks.".
std::int64_t number_behind(const std::string& name, std::string_view prefix) { return std::stoll(name.substr(prefix.size())); }

// Pixels of the picture that a layer computes.
using PixelsOf = std::function<double(const std::string& name)>;

// Of the layers whose name begins with `prefix`. A projection of prompts has `tokens` rows, one of the time a single one, any other a row a pixel; each to_q stands
// for an attention, whose two products see every pair of query and key.
double count_layers(const torch::nn::Module& network, const std::string& prefix, double tokens, const PixelsOf& pixels_of) {
  double flop = 0.0;
  for (const auto& item : network.named_modules("", /*include_self=*/false)) {
    if (!item.key().starts_with(prefix)) continue;
    const std::string name = item.key().substr(prefix.size());
    const auto* layer = dynamic_cast<const LoraLayer*>(item.value().get());
    if (layer == nullptr) continue;
    const Tensor& weight = layer->base_weight();
    const bool of_time = name.starts_with("time_embedding") || contains(name, "time_emb_proj"),
               of_prompt = contains(name, ".attn2.to_k") || contains(name, ".attn2.to_v");
    const double pixels = of_time ? 1.0 : pixels_of(name);
    flop += 2.0 * static_cast<double>(weight.numel()) * (of_prompt ? tokens : pixels);
    if (!name.ends_with(".to_q")) continue;
    const double keys = contains(name, ".attn2.") ? tokens : pixels;
    flop += 2.0 * 2.0 * pixels * keys * static_cast<double>(weight.size(0));
  }
  return flop;
}

}  // namespace

double forward_flop(const UNet2DConditionModel& unet, std::int64_t height, std::int64_t width, std::int64_t tokens) {
  std::vector<double> pixels;  // by level; a level halves the one above, rounded up
  const auto levels = static_cast<std::int64_t>(unet.config().block_out_channels.size());
  for (std::int64_t level = 0; level < levels; ++level, height = (height + 1) / 2, width = (width + 1) / 2)
    pixels.push_back(static_cast<double>(height * width));
  const auto level_of = [levels](const std::string& name) {
    if (name.starts_with("down_blocks.")) return number_behind(name, "down_blocks.") + (contains(name, "downsamplers") ? 1 : 0);
    if (name.starts_with("up_blocks.")) return levels - 1 - number_behind(name, "up_blocks.") - (contains(name, "upsamplers") ? 1 : 0);
    return name.starts_with("mid_block.") ? levels - 1 : 0;
  };
  return count_layers(unet, "", static_cast<double>(tokens),
                      [&](const std::string& name) { return pixels[static_cast<std::size_t>(level_of(name))]; });
}

double decode_flop(const AutoencoderKL& vae, std::int64_t height, std::int64_t width) {
  const auto last = static_cast<std::int64_t>(vae.config().block_out_channels.size()) - 1;
  const auto doublings_of = [last](const std::string& name) {
    if (name.starts_with("up_blocks.")) return number_behind(name, "up_blocks.") + (contains(name, "upsamplers") ? 1 : 0);
    return name == "conv_out" ? last : 0;
  };
  const auto pixels_of = [&](const std::string& name) { return static_cast<double>((height * width) << (2 * doublings_of(name))); };
  return count_layers(vae, "decoder.", 0.0, pixels_of) + count_layers(vae, "post_quant_conv", 0.0, pixels_of);
}

}  // namespace nabla
