#include "common/diffusion/single_file.h"

#include "common/diffusion/clip_text.h"
#include "common/diffusion/ldm_names.h"
#include "common/error.h"

#include <torch/types.h>

#include <algorithm>
#include <filesystem>

namespace nabla {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kClipTokens = 49408, kClipHeadWidth = 64;

// What no network needs: copies and losses that trainers keep beside the VAE.
constexpr const char* kVaeLeftovers[] = {"first_stage_model.loss.", "first_stage_model.model_ema."};

struct Family {
  std::string_view prefix;  // of a tensor that only this family has
  const char* name;
};
constexpr Family kOtherFamilies[] = {
    {"conditioner.embedders.", "a Stable Diffusion XL checkpoint"},
    {"cond_stage_model.model.", "a Stable Diffusion 2 checkpoint"},
    {"model.diffusion_model.joint_blocks.", "a Stable Diffusion 3 checkpoint"},
    {"joint_blocks.", "a Stable Diffusion 3 checkpoint"},
    {"model.diffusion_model.double_blocks.", "a Flux checkpoint"},
    {"double_blocks.", "a Flux checkpoint"},
    {"model.diffusion_model.double_layers.", "an AuraFlow checkpoint"},
    {"double_layers.", "an AuraFlow checkpoint"},
    {"clip_txt_mapper.", "a Stable Cascade checkpoint"},
    {"control_model.", "a ControlNet"},
    {"lora_unet_", "a LoRA and no model"},
    {"unet.down_blocks.", "a LoRA and no model"},
};

// Shapes by name of one component's tensors, their prefix left away.
class Shapes {
 public:
  Shapes(const TensorMap& tensors, const std::string& prefix) : tensors_(tensors), prefix_(prefix) {}
  bool has(const std::string& name) const { return tensors_.contains(prefix_ + name); }
  // A dimension of a tensor, or nothing where there is no such tensor: what is missing is reported when it is loaded.
  std::int64_t size(const std::string& name, std::int64_t dimension, std::int64_t otherwise) const {
    const auto found = tensors_.find(prefix_ + name);
    return found == tensors_.end() || found->second.dim() <= dimension ? otherwise : found->second.size(dimension);
  }

 private:
  const TensorMap& tensors_;
  std::string prefix_;
};

constexpr const char* kContextWeight = "middle_block.1.transformer_blocks.0.attn2.to_k.weight";

std::string family_by_shape(const TensorMap& tensors) {
  const Shapes unet(tensors, kLdmUnetPrefix);
  switch (unet.size(kContextWeight, 1, 0)) {
    case 1024:
      return "a Stable Diffusion 2 checkpoint";
    case 1280:
    case 2048:
      return "a Stable Diffusion XL checkpoint";
    default:
      break;
  }
  switch (unet.size("input_blocks.0.0.weight", 1, 4)) {
    case 5:
      return "a depth-to-image checkpoint";
    case 8:
      return "an InstructPix2Pix checkpoint";
    case 9:
      return "an inpainting checkpoint";
    default:
      return "";
  }
}

bool has_prefix(const TensorMap& tensors, std::string_view prefix) {
  const auto first = tensors.lower_bound(std::string(prefix));
  return first != tensors.end() && first->first.starts_with(prefix);
}

Json infer_unet(const TensorMap& tensors) {
  const Shapes shapes(tensors, kLdmUnetPrefix);
  UNetConfig config;
  config.layers_per_block = 2;
  const std::int64_t stride = config.layers_per_block + 1;
  config.block_out_channels.clear();
  config.down_block_types.clear();
  config.up_block_types.clear();
  for (std::int64_t i = 0;; ++i) {
    const std::string block = fmt::format("input_blocks.{}", stride * i + 1);
    if (!shapes.has(block + ".0.out_layers.3.weight")) break;
    config.block_out_channels.push_back(shapes.size(block + ".0.out_layers.3.weight", 0, 0));
    config.down_block_types.push_back(shapes.has(block + ".1.proj_in.weight") ? "CrossAttnDownBlock2D" : "DownBlock2D");
    config.up_block_types.push_back(shapes.has(fmt::format("output_blocks.{}.1.proj_in.weight", stride * i)) ? "CrossAttnUpBlock2D"
                                                                                                             : "UpBlock2D");
  }
  config.in_channels = shapes.size("input_blocks.0.0.weight", 1, config.in_channels);
  config.out_channels = shapes.size("out.2.weight", 0, config.out_channels);
  config.cross_attention_dim = shapes.size(kContextWeight, 1, 768);
  config.num_heads.assign(config.block_out_channels.size(), 8);
  return config.to_json();
}

Json infer_vae(const TensorMap& tensors) {
  const Shapes shapes(tensors, kLdmVaePrefix);
  VaeConfig config;
  config.layers_per_block = 2;
  config.sample_size = 512;
  config.block_out_channels.clear();
  for (std::size_t i = 0;; ++i) {
    const std::string weight = fmt::format("encoder.down.{}.block.0.conv1.weight", i);
    if (!shapes.has(weight)) break;
    config.block_out_channels.push_back(shapes.size(weight, 0, 0));
  }
  config.latent_channels = shapes.size("decoder.conv_in.weight", 1, config.latent_channels);
  config.in_channels = shapes.size("encoder.conv_in.weight", 1, config.in_channels);
  config.out_channels = shapes.size("decoder.conv_out.weight", 0, config.out_channels);
  return config.to_json();
}

Json infer_text_encoder(const TensorMap& tensors) {
  const std::string prefix = kLdmTextPrefix;
  const Shapes shapes(tensors, has_prefix(tensors, prefix + "text_model.") ? prefix + "text_model." : prefix);
  ClipTextConfig config;
  config.vocab_size = shapes.size("embeddings.token_embedding.weight", 0, kClipTokens);
  config.hidden_size = shapes.size("embeddings.token_embedding.weight", 1, 768);
  config.max_position_embeddings = shapes.size("embeddings.position_embedding.weight", 0, 77);
  config.intermediate_size = shapes.size("encoder.layers.0.mlp.fc1.weight", 0, 4 * config.hidden_size);
  config.num_attention_heads = std::max<std::int64_t>(config.hidden_size / kClipHeadWidth, 1);
  config.num_hidden_layers = 0;
  while (shapes.has(fmt::format("encoder.layers.{}.mlp.fc1.weight", config.num_hidden_layers))) ++config.num_hidden_layers;
  return config.to_json();
}

const char* prefix_of(Component component) {
  switch (component) {
    case Component::kTextEncoder:
      return kLdmTextPrefix;
    case Component::kUnet:
      return kLdmUnetPrefix;
    case Component::kVae:
      return kLdmVaePrefix;
  }
  return "";
}

bool is_leftover(const std::string& name) {
  return std::ranges::any_of(kVaeLeftovers, [&](const char* prefix) { return name.starts_with(prefix); });
}

bool belongs(const std::string& name, Component component) { return name.starts_with(prefix_of(component)) && !is_leftover(name); }

LdmNames ldm_names(const ModelSource& source, Component component) {
  const nlohmann::json config(source.config(component));
  switch (component) {
    case Component::kUnet:
      return LdmNames::of_unet(UNetConfig::from_json(config, source.config_name(component)));
    case Component::kVae:
      return LdmNames::of_vae(VaeConfig::from_json(config, source.config_name(component)));
    case Component::kTextEncoder:
      break;
  }
  return LdmNames::of_text_encoder();
}

// LDM keeps the projections of the VAE's attention as 1x1 convolutions.
Tensor as_ldm_shape(const std::string& name, const Tensor& tensor) {
  const bool projection = name.find(".mid.attn_1.") != std::string::npos && tensor.dim() == 2;
  return projection ? tensor.unsqueeze(2).unsqueeze(3) : tensor;
}

}  // namespace

std::string other_family(const TensorMap& tensors) {
  for (const auto& [prefix, name] : kOtherFamilies) {
    if (has_prefix(tensors, prefix)) return name;
  }
  return family_by_shape(tensors);
}

nlohmann::ordered_json infer_config(const TensorMap& tensors, Component component) {
  switch (component) {
    case Component::kTextEncoder:
      return infer_text_encoder(tensors);
    case Component::kUnet:
      return infer_unet(tensors);
    case Component::kVae:
      return infer_vae(tensors);
  }
  return {};
}

SingleFile::SingleFile(const std::string& path, std::shared_ptr<const ModelSource> like) : path_(path), like_(std::move(like)) {
  const TensorMap tensors = load_tensors(path);
  if (const std::string family = other_family(tensors); !family.empty())
    throw data_error("[model] '{}' is {}; supported is Stable Diffusion v1.x (text to image)", path, family);
  for (const Component component : kComponents) {
    if (has_prefix(tensors, prefix_of(component))) continue;
    throw data_error(
        "[model] '{}' has no {}: there is no tensor under '{}'. A whole Stable Diffusion v1.x checkpoint is needed, or a folder in "
        "diffusers' layout",
        path, name_of(component), prefix_of(component));
  }
  for (const Component component : kComponents) configs_[component] = infer_config(tensors, component);
  for (const auto& [name, tensor] : tensors) {
    if (std::ranges::none_of(kComponents, [&](Component component) { return belongs(name, component); })) left_out_.push_back(name);
  }
}

Json SingleFile::config(Component component) const { return like_ ? like_->config(component) : configs_.at(component); }

std::string SingleFile::config_name(Component component) const {
  return like_ ? like_->config_name(component) : fmt::format("the {} of '{}'", name_of(component), path_);
}

std::string SingleFile::tensors_name(Component component) const { return fmt::format("the {} of '{}'", name_of(component), path_); }

TensorMap SingleFile::tensors(Component component) const {
  const LdmNames names = ldm_names(*this, component);
  TensorMap tensors;
  for (const auto& [name, tensor] : load_tensors(path_)) {
    if (belongs(name, component)) tensors[names.to_diffusers(name).value_or(name)] = tensor;
  }
  return tensors;
}

// Stable Diffusion v1.5's scheduler_config.json.
Json SingleFile::scheduler() const {
  if (like_) return like_->scheduler();
  return {{"_class_name", "PNDMScheduler"}, {"beta_end", 0.012},      {"beta_schedule", "scaled_linear"},
          {"beta_start", 0.00085},          {"clip_sample", false},   {"num_train_timesteps", 1000},
          {"set_alpha_to_one", false},      {"skip_prk_steps", true}, {"steps_offset", 1},
          {"trained_betas", nullptr}};
}

std::string SingleFile::scheduler_name() const { return like_ ? like_->scheduler_name() : fmt::format("the scheduler of '{}'", path_); }

// The one that lies beside the file.
std::string SingleFile::tokenizer_folder() const {
  const std::string folder = (std::filesystem::path(path_).parent_path() / "tokenizer").string();
  if (std::filesystem::exists(folder + "/vocab.json")) return folder;
  throw data_error(
      "[model] '{}' brings no tokenizer along, and there is no '{}' beside it; put Stable Diffusion v1.5's tokenizer/ there (vocab.json, merges.txt, ...), or "
      "convert the file with the tokenizer of a model folder: nabla convert {} FOLDER --like MODEL",
      path_, folder, path_);
}

ClipTokenizer SingleFile::tokenizer() const { return like_ ? like_->tokenizer() : ClipTokenizer::load(tokenizer_folder()); }

void SingleFile::write_tokenizer(const std::string& folder) const {
  if (like_) return like_->write_tokenizer(folder);
  std::filesystem::copy(tokenizer_folder(), folder, std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
}

TensorMap single_file_tensors(const ModelSource& source) {
  TensorMap tensors;
  for (const Component component : kComponents) {
    const LdmNames names = ldm_names(source, component);
    for (const auto& [name, tensor] : require_complete(match_component(source, component), source.tensors_name(component))) {
      const std::string ldm = names.to_ldm(name).value();
      tensors[ldm] = as_ldm_shape(ldm, tensor);
    }
  }
  return tensors;
}

}  // namespace nabla
