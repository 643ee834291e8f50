#include "common/diffusion/diffusers_folder.h"

#include "common/error.h"
#include "common/json_file.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <set>
#include <vector>

namespace nabla {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kStableDiffusion2Context = 1024;
constexpr const char* kTokenizerFiles[] = {"vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json"};

// "model.safetensors", "model.fp16.safetensors", ...: in the order in which they are looked for.
std::vector<std::string> weight_files(const std::string& base_name) {
  // transformers calls the pickled form of "model" otherwise.
  const std::string pickled = base_name == "model" ? "pytorch_model" : base_name;
  std::vector<std::string> files;
  for (const auto& [base, ending] : {std::pair{base_name, "safetensors"}, {pickled, "bin"}}) {
    for (const std::string variant : {"", ".fp16", ".non_ema"}) {
      files.push_back(fmt::format("{}{}.{}", base, variant, ending));
      files.push_back(fmt::format("{}.{}.index{}.json", base, ending, variant));
      if (!variant.empty()) files.push_back(fmt::format("{}{}.{}.index.json", base, variant, ending));
    }
  }
  return files;
}

TensorMap load_shards(const std::string& folder, const std::string& index_file) {
  const auto index = read_json(index_file);
  if (!index.contains("weight_map") || !index["weight_map"].is_object()) throw data_error("[model] {}: there is no weight_map", index_file);
  std::set<std::string> files;
  for (const auto& [name, file] : index["weight_map"].items()) {
    if (!file.is_string()) throw data_error("[model] {}: the file of tensor '{}' is {}; a name is expected", index_file, name, file.dump());
    const std::string shard = file.get<std::string>();
    if (shard.find('/') != std::string::npos) throw data_error("[model] {}: shard name '{}' leaves its folder", index_file, shard);
    files.insert(shard);
  }
  TensorMap tensors;
  for (const auto& file : files) tensors.merge(load_tensors(folder + "/" + file));
  for (const auto& [name, file] : index["weight_map"].items()) {
    if (!tensors.contains(name))
      throw data_error("[model] {}: tensor '{}' is not in its shard '{}'", index_file, name, file.get<std::string>());
  }
  return tensors;
}

// Stable Diffusion 2 has the same pipeline class.
void refuse_stable_diffusion_2(const std::string& path) {
  const std::string file = path + "/unet/config.json";
  if (!fs::exists(file)) return;
  const Json config = read_json(file);
  const auto width = config.find("cross_attention_dim");
  if (width != config.end() && *width == kStableDiffusion2Context)
    throw data_error("[model] '{}' is a Stable Diffusion 2 model (cross_attention_dim {}); supported is Stable Diffusion v1.x", path,
                     kStableDiffusion2Context);
}

}  // namespace

TensorMap load_component_tensors(const std::string& folder, const std::string& base_name) {
  for (const std::string& name : weight_files(base_name)) {
    const std::string file = folder + "/" + name;
    if (fs::exists(file)) return name.ends_with(".json") ? load_shards(folder, file) : load_tensors(file);
  }
  throw data_error("[model] there is no {0}.safetensors in '{1}' (nor .fp16, .non_ema, an index of shards, or one of these as .bin)",
                   base_name, folder);
}

DiffusersFolder::DiffusersFolder(const std::string& path) : path_(path) {
  const auto index = read_json(path + "/model_index.json");
  const auto found = index.find("_class_name");
  const std::string kind = found != index.end() && found->is_string() ? found->get<std::string>() : "";
  if (kind != "StableDiffusionPipeline") {
    throw data_error("[model] '{}' is a {}; supported is StableDiffusionPipeline (Stable Diffusion v1.x)", path,
                     kind.empty() ? "folder without _class_name" : kind);
  }
  refuse_stable_diffusion_2(path);
}

std::string DiffusersFolder::tensors_name(Component component) const { return fmt::format("{}/{}", path_, name_of(component)); }

std::string DiffusersFolder::config_name(Component component) const { return tensors_name(component) + "/config.json"; }

nlohmann::ordered_json DiffusersFolder::config(Component component) const { return read_json(config_name(component)); }

TensorMap DiffusersFolder::tensors(Component component) const {
  return load_component_tensors(tensors_name(component), weights_name(component));
}

std::string DiffusersFolder::scheduler_name() const { return path_ + "/scheduler/scheduler_config.json"; }

nlohmann::ordered_json DiffusersFolder::scheduler() const { return read_json(scheduler_name()); }

ClipTokenizer DiffusersFolder::tokenizer() const { return ClipTokenizer::load(path_ + "/tokenizer"); }

void DiffusersFolder::write_tokenizer(const std::string& folder) const {
  for (const char* name : kTokenizerFiles) {
    const std::string file = fmt::format("{}/tokenizer/{}", path_, name);
    if (fs::exists(file)) fs::copy_file(file, fmt::format("{}/{}", folder, name));
  }
}

}  // namespace nabla
