#include "common/diffusion/model_config.h"

#include "common/diffusion/clip_text.h"
#include "common/diffusion/clip_vision.h"
#include "common/diffusion/unet.h"
#include "common/diffusion/vae.h"
#include "common/error.h"

#include <algorithm>

namespace nabla {

ConfigReader::ConfigReader(const nlohmann::json& json, std::string source) : json_(json), source_(std::move(source)) {
  if (!json.is_object()) throw data_error("[model] {}: a configuration is a JSON object", source_);
}

const nlohmann::json* ConfigReader::find(const char* key) const {
  const auto found = json_.find(key);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

void ConfigReader::refuse(const char* key, const std::string& expected) const {
  throw data_error("[model] {}: {} is {}; supported is {}", source_, key, json_.at(key).dump(), expected);
}

void ConfigReader::read_size(const char* key, std::int64_t& value, std::int64_t most) const {
  read(key, value);
  if (value < 1 || value > most) refuse(key, fmt::format("a whole number from 1 to {}", most));
}

void ConfigReader::read_sizes(const char* key, std::vector<std::int64_t>& values, std::int64_t most) const {
  constexpr std::size_t kMostLevels = 16;
  read(key, values);
  const nlohmann::json* given = find(key);
  const bool whole = given == nullptr || std::ranges::all_of(*given, [](const auto& value) { return value.is_number_integer(); });
  const bool counted = std::ranges::all_of(values, [most](std::int64_t value) { return value >= 1 && value <= most; });
  if (!whole || !counted || values.empty() || values.size() > kMostLevels) refuse(key, fmt::format("1 to {} whole numbers from 1 to {}", kMostLevels, most));
}

void ConfigReader::require(const char* key, const nlohmann::json& value) const {
  const auto* found = find(key);
  if (found != nullptr && *found != value) refuse(key, value.dump());
}

namespace {

void require_unet_defaults(const ConfigReader& reader) {
  const std::pair<const char*, nlohmann::json> defaults[] = {
      {"act_fn", "silu"}, {"center_input_sample", false}, {"downsample_padding", 1}, {"mid_block_scale_factor", 1},
      {"use_linear_projection", false}, {"upcast_attention", false}, {"only_cross_attention", false}, {"dual_cross_attention", false},
      {"resnet_time_scale_shift", "default"}, {"time_embedding_type", "positional"}, {"mid_block_type", "UNetMidBlock2DCrossAttn"},
      {"transformer_layers_per_block", 1}, {"conv_in_kernel", 3}, {"conv_out_kernel", 3}, {"attention_type", "default"},
      {"resnet_skip_time_act", false}, {"resnet_out_scale_factor", 1.0}};
  for (const auto& [key, value] : defaults) reader.require(key, value);
  for (const char* key : {"class_embed_type", "addition_embed_type", "num_class_embeds", "encoder_hid_dim", "encoder_hid_dim_type", "time_cond_proj_dim",
                          "timestep_post_act", "time_embedding_act_fn", "time_embedding_dim", "reverse_transformer_layers_per_block",
                          "projection_class_embeddings_input_dim", "addition_time_embed_dim", "mid_block_only_cross_attention"}) {
    if (reader.find(key) != nullptr && *reader.find(key) != nlohmann::json(false)) reader.refuse(key, "null");
  }
}

void check_unet_blocks(const UNetConfig& config, const ConfigReader& reader) {
  const std::size_t levels = config.block_out_channels.size();
  const auto known = [](const std::vector<std::string>& types, const std::string& plain, const std::string& cross) {
    return std::all_of(types.begin(), types.end(), [&](const auto& type) { return type == plain || type == cross; });
  };
  if (levels == 0) reader.refuse("block_out_channels", "at least one width");
  if (config.down_block_types.size() != levels || !known(config.down_block_types, "DownBlock2D", "CrossAttnDownBlock2D")) {
    reader.refuse("down_block_types", "one of DownBlock2D, CrossAttnDownBlock2D a width");
  }
  if (config.up_block_types.size() != levels || !known(config.up_block_types, "UpBlock2D", "CrossAttnUpBlock2D")) {
    reader.refuse("up_block_types", "one of UpBlock2D, CrossAttnUpBlock2D a width");
  }
  for (std::size_t level = 0; level < levels; ++level) {
    const std::int64_t width = config.block_out_channels[level], heads = config.num_heads[level];
    if (width <= 0 || width % config.norm_num_groups != 0) reader.refuse("block_out_channels", fmt::format("multiples of norm_num_groups {}", config.norm_num_groups));
    const bool attends = level + 1 == levels || config.down_block_types[level].starts_with("Cross") || config.up_block_types[levels - 1 - level].starts_with("Cross");
    if (attends && (heads <= 0 || width % heads != 0)) reader.refuse("attention_head_dim", fmt::format("a number of heads that divides {}", width));
  }
}

}  // namespace

UNetConfig UNetConfig::from_json(const nlohmann::json& json, const std::string& source) {
  const ConfigReader reader(json, source);
  require_unet_defaults(reader);
  UNetConfig config;
  reader.read_size("in_channels", config.in_channels);
  reader.read_size("out_channels", config.out_channels);
  reader.read_size("sample_size", config.sample_size);
  reader.read("down_block_types", config.down_block_types);
  reader.read("up_block_types", config.up_block_types);
  reader.read_sizes("block_out_channels", config.block_out_channels);
  reader.read_size("layers_per_block", config.layers_per_block, ConfigReader::kMostLayers);
  reader.read_size("cross_attention_dim", config.cross_attention_dim);
  reader.read_size("norm_num_groups", config.norm_num_groups);
  reader.read("norm_eps", config.norm_eps);
  reader.read("flip_sin_to_cos", config.flip_sin_to_cos);
  reader.read("freq_shift", config.freq_shift);
  // attention_head_dim is the number of heads (a historical mix-up of names in diffusers); num_attention_heads wins where both stand.
  const char* heads_key = reader.find("num_attention_heads") != nullptr ? "num_attention_heads" : "attention_head_dim";
  config.num_heads.assign(config.block_out_channels.size(), 8);
  if (const auto* heads = reader.find(heads_key); heads != nullptr && heads->is_array()) {
    reader.read_sizes(heads_key, config.num_heads);
    if (config.num_heads.size() != config.block_out_channels.size()) reader.refuse(heads_key, "one entry a block");
  } else if (heads != nullptr) {
    std::int64_t number = 8;
    reader.read_size(heads_key, number);
    config.num_heads.assign(config.block_out_channels.size(), number);
  }
  check_unet_blocks(config, reader);
  return config;
}

nlohmann::ordered_json UNetConfig::to_json() const {
  return {{"_class_name", "UNet2DConditionModel"}, {"act_fn", "silu"}, {"attention_head_dim", num_heads}, {"block_out_channels", block_out_channels},
          {"center_input_sample", false}, {"cross_attention_dim", cross_attention_dim}, {"down_block_types", down_block_types},
          {"downsample_padding", 1}, {"flip_sin_to_cos", flip_sin_to_cos}, {"freq_shift", static_cast<std::int64_t>(freq_shift)},
          {"in_channels", in_channels}, {"layers_per_block", layers_per_block}, {"mid_block_scale_factor", 1}, {"norm_eps", norm_eps},
          {"norm_num_groups", norm_num_groups}, {"out_channels", out_channels}, {"sample_size", sample_size}, {"up_block_types", up_block_types}};
}

VaeConfig VaeConfig::from_json(const nlohmann::json& json, const std::string& source) {
  const ConfigReader reader(json, source);
  reader.require("act_fn", "silu");
  reader.require("mid_block_add_attention", true);
  reader.require("use_quant_conv", true);
  reader.require("use_post_quant_conv", true);
  if (reader.find("shift_factor") != nullptr) reader.refuse("shift_factor", "null");
  VaeConfig config;
  reader.read_size("in_channels", config.in_channels);
  reader.read_size("out_channels", config.out_channels);
  reader.read_size("latent_channels", config.latent_channels);
  reader.read_size("layers_per_block", config.layers_per_block, ConfigReader::kMostLayers);
  reader.read_size("norm_num_groups", config.norm_num_groups);
  reader.read_size("sample_size", config.sample_size);
  reader.read_sizes("block_out_channels", config.block_out_channels);
  reader.read("scaling_factor", config.scaling_factor);
  for (const std::int64_t width : config.block_out_channels) {
    if (width % config.norm_num_groups != 0) reader.refuse("block_out_channels", fmt::format("multiples of norm_num_groups {}", config.norm_num_groups));
  }
  for (const char* key : {"down_block_types", "up_block_types"}) {
    const std::string plain = key[0] == 'd' ? "DownEncoderBlock2D" : "UpDecoderBlock2D";
    std::vector<std::string> types(config.block_out_channels.size(), plain);
    reader.read(key, types);
    if (types != std::vector<std::string>(config.block_out_channels.size(), plain)) reader.refuse(key, "one " + plain + " a width");
  }
  return config;
}

nlohmann::ordered_json VaeConfig::to_json() const {
  const std::vector<std::string> down(block_out_channels.size(), "DownEncoderBlock2D"), up(block_out_channels.size(), "UpDecoderBlock2D");
  return {{"_class_name", "AutoencoderKL"}, {"act_fn", "silu"}, {"block_out_channels", block_out_channels}, {"down_block_types", down},
          {"in_channels", in_channels}, {"latent_channels", latent_channels}, {"layers_per_block", layers_per_block},
          {"norm_num_groups", norm_num_groups}, {"out_channels", out_channels}, {"sample_size", sample_size}, {"scaling_factor", scaling_factor},
          {"up_block_types", up}};
}

namespace {

template <class Config>
void check_tower(const ConfigReader& reader, const Config& config) {
  if (config.hidden_act != "quick_gelu" && config.hidden_act != "gelu") reader.refuse("hidden_act", "quick_gelu or gelu");
  if (config.hidden_size % config.num_attention_heads != 0) {
    reader.refuse(reader.find("hidden_size") != nullptr ? "hidden_size" : "num_attention_heads",
                  fmt::format("a width of whole heads, not {} in {}", config.hidden_size, config.num_attention_heads));
  }
}

}  // namespace

ClipTextConfig ClipTextConfig::from_json(const nlohmann::json& json, const std::string& source) {
  const ConfigReader reader(json, source);
  ClipTextConfig config;
  reader.read_size("vocab_size", config.vocab_size, ConfigReader::kMostTokens);
  reader.read_size("hidden_size", config.hidden_size);
  reader.read_size("intermediate_size", config.intermediate_size);
  reader.read_size("num_hidden_layers", config.num_hidden_layers, ConfigReader::kMostLayers);
  reader.read_size("num_attention_heads", config.num_attention_heads);
  reader.read_size("max_position_embeddings", config.max_position_embeddings, ConfigReader::kMostTokens);
  reader.read("eos_token_id", config.eos_token_id);
  reader.read("layer_norm_eps", config.layer_norm_eps);
  reader.read("hidden_act", config.hidden_act);
  check_tower(reader, config);
  return config;
}

nlohmann::ordered_json ClipTextConfig::to_json() const {
  return {{"_class_name", "CLIPTextModel"}, {"architectures", {"CLIPTextModel"}}, {"model_type", "clip_text_model"}, {"eos_token_id", eos_token_id},
          {"hidden_act", hidden_act}, {"hidden_size", hidden_size}, {"intermediate_size", intermediate_size}, {"layer_norm_eps", layer_norm_eps},
          {"max_position_embeddings", max_position_embeddings}, {"num_attention_heads", num_attention_heads}, {"num_hidden_layers", num_hidden_layers},
          {"vocab_size", vocab_size}};
}

ClipVisionConfig ClipVisionConfig::from_json(const nlohmann::json& json, const std::string& source) {
  const ConfigReader reader(json, source);
  ClipVisionConfig config;
  reader.read_size("image_size", config.image_size);
  reader.read_size("patch_size", config.patch_size, config.image_size);
  reader.read_size("hidden_size", config.hidden_size);
  reader.read_size("intermediate_size", config.intermediate_size);
  reader.read_size("num_hidden_layers", config.num_hidden_layers, ConfigReader::kMostLayers);
  reader.read_size("num_attention_heads", config.num_attention_heads);
  reader.read_size("projection_dim", config.projection_dim);
  reader.read("layer_norm_eps", config.layer_norm_eps);
  reader.read("hidden_act", config.hidden_act);
  check_tower(reader, config);
  return config;
}

nlohmann::ordered_json ClipVisionConfig::to_json() const {
  return {{"architectures", {"CLIPVisionModelWithProjection"}}, {"model_type", "clip_vision_model"}, {"hidden_act", hidden_act},
          {"hidden_size", hidden_size}, {"image_size", image_size}, {"intermediate_size", intermediate_size}, {"layer_norm_eps", layer_norm_eps},
          {"num_attention_heads", num_attention_heads}, {"num_hidden_layers", num_hidden_layers}, {"patch_size", patch_size},
          {"projection_dim", projection_dim}};
}

}  // namespace nabla
