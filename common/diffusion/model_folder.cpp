#include "common/diffusion/model_folder.h"

#include "common/digest.h"
#include "common/error.h"
#include "common/json_file.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <algorithm>
#include <filesystem>
#include <set>

namespace nabla {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kNamesShown = 8;

nlohmann::json component_config(const std::string& folder) { return nlohmann::json(read_json(folder + "/config.json")); }

// "a, b, c and 12 more"
std::string list_names(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kNamesShown); ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kNamesShown) text += fmt::format(" and {} more", names.size() - kNamesShown);
  return text;
}

// diffusers' first spelling of the VAE's attention, as the published SD v1.5 file has it.
std::string modern_attention_name(std::string name) {
  const std::pair<const char*, const char*> renames[] = {{".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."}};
  if (name.find(".mid_block.attentions.0.") == std::string::npos) return name;
  for (const auto& [from, to] : renames) {
    if (const auto at = name.find(from); at != std::string::npos) name.replace(at, std::string(from).size(), to);
  }
  return name;
}

// transformers from version 5 on leaves the "text_model." in front of a text encoder's names away.
std::string full_text_encoder_name(const std::string& name, const TensorMap& wanted) {
  return wanted.contains("text_model." + name) ? "text_model." + name : name;
}

// Attention weights kept as 1x1 convolutions [o,i,1,1] become [o,i].
Tensor squeezed_to(const Tensor& tensor, const Tensor& like) {
  const bool pointwise = tensor.dim() == 4 && like.dim() == 2 && tensor.size(2) == 1 && tensor.size(3) == 1;
  return pointwise ? tensor.squeeze(3).squeeze(2) : tensor;
}

TensorMap load_shards(const std::string& folder, const std::string& index_file) {
  const auto index = read_json(index_file);
  if (!index.contains("weight_map") || !index["weight_map"].is_object()) throw data_error("[model] {}: there is no weight_map", index_file);
  std::set<std::string> files;
  for (const auto& [name, file] : index["weight_map"].items()) {
    const std::string shard = file.get<std::string>();
    if (shard.find('/') != std::string::npos) throw data_error("[model] {}: shard name '{}' leaves its folder", index_file, shard);
    files.insert(shard);
  }
  TensorMap tensors;
  for (const auto& file : files) tensors.merge(load_tensors(folder + "/" + file));
  return tensors;
}

void refuse_non_finite(const std::string& name, const Tensor& tensor, const std::string& source) {
  if (!tensor.is_floating_point() || at::isfinite(tensor).all().item<bool>()) return;
  throw data_error("[model] {}: tensor '{}' holds NaN or infinite values; the file is damaged", source, name);
}

}  // namespace

TensorMap load_component_tensors(const std::string& folder, const std::string& base_name) {
  for (const char* variant : {"", ".fp16", ".non_ema"}) {
    const std::string file = fmt::format("{}/{}{}.safetensors", folder, base_name, variant);
    if (fs::exists(file)) return load_tensors(file);
    if (fs::exists(file + ".index.json")) return load_shards(folder, file + ".index.json");
  }
  throw data_error("[model] there is no {0}.safetensors (nor .fp16, .non_ema or an index of shards) in '{1}'", base_name, folder);
}

TensorMap named_tensors(const torch::nn::Module& module) {
  TensorMap tensors;
  for (const auto& item : module.named_parameters()) tensors[item.key()] = item.value();
  return tensors;
}

void load_parameters(torch::nn::Module& module, const TensorMap& tensors, const std::string& source) {
  const at::NoGradGuard no_grad;
  TensorMap given, wanted = named_tensors(module);
  for (const auto& [name, tensor] : tensors) given[full_text_encoder_name(modern_attention_name(name), wanted)] = tensor;
  std::vector<std::string> missing, unexpected;
  for (const auto& [name, parameter] : wanted) {
    if (!given.contains(name)) missing.push_back(name);
  }
  for (const auto& [name, tensor] : given) {
    if (!wanted.contains(name) && !name.ends_with("position_ids")) unexpected.push_back(name);
  }
  if (!missing.empty() || !unexpected.empty()) {
    throw data_error("[model] {}: {} tensors are missing ({}) and {} unexpected ({}); does config.json belong to this file?", source, missing.size(),
                     list_names(missing), unexpected.size(), list_names(unexpected));
  }
  for (auto& [name, parameter] : wanted) {
    const Tensor tensor = squeezed_to(given.at(name), parameter);
    if (tensor.sizes() != parameter.sizes()) {
      throw data_error("[model] {}: tensor '{}' has shape {}, the configuration asks for {}", source, name, shape_string(tensor), shape_string(parameter));
    }
    refuse_non_finite(name, tensor, source);
    parameter.copy_(tensor);
  }
}

ModelFolder ModelFolder::open(const std::string& path) {
  if (!fs::is_directory(path)) throw data_error("[model] there is no model folder '{}'; pretrained.model takes a folder in diffusers' layout", path);
  const auto index = read_json(path + "/model_index.json");
  const std::string kind = index.value("_class_name", "");
  if (kind != "StableDiffusionPipeline") {
    throw data_error("[model] '{}' is a {}; supported is StableDiffusionPipeline (Stable Diffusion v1.x)", path, kind.empty() ? "folder without _class_name" : kind);
  }
  ModelFolder folder;
  folder.path_ = path;
  return folder;
}

namespace {

template <class Model, class Config>
std::shared_ptr<Model> load_model(const std::string& folder, const std::string& base_name, at::ScalarType dtype) {
  const Config config = Config::from_json(component_config(folder), folder + "/config.json");
  auto model = std::make_shared<Model>(config);
  model->to(dtype);
  load_parameters(*model, load_component_tensors(folder, base_name), folder);
  for (auto& parameter : model->parameters()) parameter.requires_grad_(false);
  model->eval();
  return model;
}

}  // namespace

std::shared_ptr<UNet2DConditionModel> ModelFolder::load_unet(at::ScalarType dtype) const {
  return load_model<UNet2DConditionModel, UNetConfig>(path_ + "/unet", "diffusion_pytorch_model", dtype);
}

std::shared_ptr<AutoencoderKL> ModelFolder::load_vae(at::ScalarType dtype) const {
  return load_model<AutoencoderKL, VaeConfig>(path_ + "/vae", "diffusion_pytorch_model", dtype);
}

std::shared_ptr<ClipTextModel> ModelFolder::load_text_encoder(at::ScalarType dtype) const {
  return load_model<ClipTextModel, ClipTextConfig>(path_ + "/text_encoder", "model", dtype);
}

ClipTokenizer ModelFolder::load_tokenizer() const { return ClipTokenizer::load(path_ + "/tokenizer"); }

SchedulerConfig ModelFolder::scheduler() const {
  const std::string file = path_ + "/scheduler/scheduler_config.json";
  return SchedulerConfig::from_json(nlohmann::json(read_json(file)), file);
}

std::string ModelFolder::digest() const {
  Digest digest;
  const std::pair<const char*, const char*> components[] = {
      {"text_encoder", "model"}, {"unet", "diffusion_pytorch_model"}, {"vae", "diffusion_pytorch_model"}};
  for (const auto& [name, base] : components) digest.update(digest_of(load_component_tensors(fmt::format("{}/{}", path_, name), base)));
  digest.update(scheduler().to_json().dump());
  digest.update(fmt::format("{}", component_config(path_ + "/vae").value("scaling_factor", 0.18215)));
  return digest.hex();
}

}  // namespace nabla
