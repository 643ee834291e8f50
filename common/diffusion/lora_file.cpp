#include "common/diffusion/ldm_names.h"
#include "common/diffusion/lora.h"
#include "common/error.h"
#include "common/json_file.h"
#include "common/nearest.h"

#include <torch/types.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <optional>

namespace nabla {

namespace {

struct PairInFile {
  Tensor down, up;
  std::optional<double> alpha;
};

enum class Part { kDown, kUp, kAlpha };

struct ParsedKey {
  std::string module;
  Part part = Part::kDown;
};

// Endings of the dialects P, D, K and O; in O the module's last name stands inside the ending ("processor.to_q_lora.down.weight").
constexpr std::array<std::pair<const char*, Part>, 9> kEndings{{{".lora_A.weight", Part::kDown},
                                                                {".lora_B.weight", Part::kUp},
                                                                {".lora.down.weight", Part::kDown},
                                                                {".lora.up.weight", Part::kUp},
                                                                {".lora_down.weight", Part::kDown},
                                                                {".lora_up.weight", Part::kUp},
                                                                {"_lora.down.weight", Part::kDown},
                                                                {"_lora.up.weight", Part::kUp},
                                                                {".alpha", Part::kAlpha}}};

std::string kohya_name(std::string module) {
  std::replace(module.begin(), module.end(), '.', '_');
  return "lora_unet_" + module;
}

bool remove_prefix(std::string& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.erase(0, prefix.size());
  return true;
}

// The layers of a network by every name that a file may have for them.
class KeyParser {
 public:
  KeyParser(std::string path, torch::nn::Module& network) : path_(std::move(path)), layers_(lora_layers(network)) {
    const auto* unet = dynamic_cast<const UNet2DConditionModel*>(&network);
    const auto ldm_names = unet == nullptr ? std::nullopt : std::optional(LdmNames::of_unet(unet->config()));
    for (const auto& [name, layer] : layers_) {
      modules_.push_back(name);
      by_other_name_[kohya_name(name)] = name;
      const auto ldm = ldm_names ? ldm_names->to_ldm(name) : std::nullopt;
      if (!ldm) continue;
      const std::string bare = ldm->substr(std::string_view(kLdmUnetPrefix).size());
      by_other_name_[kohya_name(bare)] = name;
      by_other_name_["diffusion_model." + bare] = name;
    }
  }

  ParsedKey parse(const std::string& key) const {
    for (const char* prefix : {"text_encoder.", "lora_te_", "lora_te1_", "lora_te2_"}) {
      if (key.starts_with(prefix))
        throw data_error("[lora] '{}': '{}' is for a text encoder; only a LoRA of the UNet is supported", path_, key);
    }
    for (const auto& [ending, part] : kEndings) {
      if (!key.ends_with(ending)) continue;
      std::string module = key.substr(0, key.size() - std::string_view(ending).size());
      return {full_name(key, module), part};
    }
    throw data_error("[lora] '{}': '{}' is no LoRA tensor of a dialect that is known (peft, diffusers, kohya)", path_, key);
  }

  const LoraLayer& layer(const std::string& module) const { return *layers_.at(module); }

 private:
  std::string full_name(const std::string& key, std::string module) const {
    if (const auto found = by_other_name_.find(module); found != by_other_name_.end()) return found->second;
    remove_prefix(module, "base_model.model.");
    remove_prefix(module, "unet.");
    constexpr std::string_view kProcessor = "processor.";
    if (const auto at = module.find(kProcessor); at != std::string::npos) {
      module.erase(at, kProcessor.size());
      if (module.ends_with(".to_out")) module += ".0";
    }
    if (std::binary_search(modules_.begin(), modules_.end(), module)) return module;
    throw data_error("[lora] '{}': '{}' belongs to no layer of this network; the nearest is '{}'. Is it a LoRA of this model?", path_, key,
                     nearest(module, modules_));
  }

  std::string path_;
  std::map<std::string, LoraLayer*> layers_;
  std::vector<std::string> modules_;  // sorted
  std::map<std::string, std::string> by_other_name_;
};

// Alphas that stand in the metadata: peft's configuration with every key under "unet.".
class MetadataAlphas {
 public:
  MetadataAlphas(const std::string& path, const std::map<std::string, std::string>& metadata) {
    const auto found = metadata.find("lora_adapter_metadata");
    if (found == metadata.end()) return;
    config_ = parse_json(found->second, "lora_adapter_metadata of '" + path + "'");
    if (!config_.is_object()) throw data_error("[lora] '{}': lora_adapter_metadata is no JSON object", path);
  }

  std::optional<double> of(const std::string& module) const {
    const auto patterns = config_.find("unet.alpha_pattern");
    if (patterns != config_.end() && patterns->is_object()) {
      for (const auto& [pattern, alpha] : patterns->items()) {
        if (module == pattern || module.ends_with("." + pattern)) return alpha.get<double>();
      }
    }
    const auto alpha = config_.find("unet.lora_alpha");
    if (alpha == config_.end() || !alpha->is_number()) return std::nullopt;
    return alpha->get<double>();
  }

 private:
  nlohmann::ordered_json config_ = nlohmann::ordered_json::object();
};

// float32, or float64 where the file has it. A matrix of a linear layer may be kept as a 1x1 convolution, and the other way round.
Tensor as_floats(const std::string& path, const std::string& key, const Tensor& tensor) {
  if ((tensor.dim() != 2 && tensor.dim() != 4) || !tensor.is_floating_point()) {
    throw data_error("[lora] '{}': tensor '{}' of shape {} is no matrix of floating-point numbers", path, key, shape_string(tensor));
  }
  return tensor.scalar_type() == at::kDouble ? tensor : tensor.to(at::kFloat);
}

// In the layer's shape where only dimensions of 1 are between them; otherwise as it is, for attach() to refuse.
Tensor shaped_like(const Tensor& tensor, const std::vector<std::int64_t>& shape) {
  const bool fits = tensor.size(0) == shape[0] && tensor.size(1) == shape[1] && tensor.numel() == at::empty(shape, at::kMeta).numel();
  return fits ? tensor.reshape(shape) : tensor;
}

void place(const std::string& path, const std::string& key, const Tensor& tensor, Part part, PairInFile& pair) {
  if (part == Part::kAlpha) {
    if (tensor.numel() != 1) throw data_error("[lora] '{}': '{}' has shape {}, expected one number", path, key, shape_string(tensor));
    pair.alpha = tensor.to(at::kDouble).item<double>();
    return;
  }
  Tensor& slot = part == Part::kDown ? pair.down : pair.up;
  if (slot.defined()) throw data_error("[lora] '{}': '{}' names a matrix that the file has under another name too", path, key);
  slot = as_floats(path, key, tensor);
}

// What ComfyUI, A1111 and model managers read.
std::map<std::string, std::string> kohya_metadata(const LoraConfig& config, const std::string& title) {
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return {{"ss_network_module", "networks.lora"},
          {"ss_network_dim", fmt::format("{}", config.rank)},
          {"ss_network_alpha", fmt::format("{}", config.alpha)},
          {"ss_base_model_version", "sd_v1"},
          {"ss_v2", "False"},
          {"ss_output_name", title},
          {"ss_training_started_at", fmt::format("{}.0", now)},
          {"modelspec.sai_model_spec", "1.0.1"},
          {"modelspec.architecture", "stable-diffusion-v1/lora"},
          {"modelspec.implementation", "diffusers"},
          {"modelspec.title", title},
          {"modelspec.date", date},
          {"modelspec.resolution", "512x512"},
          {"modelspec.prediction_type", "epsilon"}};
}

std::string stem_of(const std::string& path) {
  const std::string file = path.substr(path.rfind('/') + 1);
  return file.substr(0, file.rfind(".safetensors"));
}

// Calls visit(module, down, up) for every adapter.
template <class Visit>
void for_each_adapter(const LoraAdapter& adapter, Visit visit) {
  const std::string ending = ".lora_A.weight";
  const TensorMap tensors = adapter.tensors();
  for (const auto& [name, down] : tensors) {
    if (!name.ends_with(ending)) continue;
    const std::string module = name.substr(0, name.size() - ending.size());
    visit(module, down.detach(), tensors.at(module + ".lora_B.weight").detach());
  }
}

}  // namespace

TensorMap read_lora_file(const std::string& path, torch::nn::Module& network) {
  const KeyParser parser(path, network);
  const MetadataAlphas metadata(path, load_metadata(path));
  std::map<std::string, PairInFile> pairs;
  for (const auto& [key, tensor] : load_tensors(path)) {
    const ParsedKey parsed = parser.parse(key);
    place(path, key, tensor, parsed.part, pairs[parsed.module]);
  }
  if (pairs.empty()) throw data_error("[lora] '{}' holds no tensors", path);
  TensorMap tensors;
  for (auto& [module, pair] : pairs) {
    if (!pair.down.defined() || !pair.up.defined())
      throw data_error("[lora] '{}': the layer '{}' lacks one of its two matrices", path, module);
    if (pair.down.size(0) != pair.up.size(1)) {
      throw data_error("[lora] '{}': the layer '{}' has ranks {} (down) and {} (up)", path, module, pair.down.size(0), pair.up.size(1));
    }
    const double rank = static_cast<double>(pair.down.size(0));
    const double alpha = pair.alpha.value_or(metadata.of(module).value_or(rank));
    const LoraLayer& layer = parser.layer(module);
    tensors[module + ".lora_A.weight"] = shaped_like(pair.down, layer.down_shape(pair.down.size(0)));
    const Tensor up = shaped_like(pair.up, layer.up_shape(pair.down.size(0)));
    tensors[module + ".lora_B.weight"] = alpha == rank ? up : up * (alpha / rank);
  }
  return tensors;
}

void write_lora_diffusers(const std::string& path, const LoraAdapter& adapter) {
  TensorMap file;
  for_each_adapter(adapter, [&](const std::string& module, const Tensor& down, const Tensor& up) {
    file["unet." + module + ".lora.down.weight"] = down.to(at::kFloat);
    file["unet." + module + ".lora.up.weight"] = (adapter.scale() == 1.0 ? up : up * adapter.scale()).to(at::kFloat);
  });
  save_tensors(path, file, {{"format", "pt"}});
}

void write_lora_kohya(const std::string& path, const LoraAdapter& adapter, const std::map<std::string, std::string>& metadata) {
  TensorMap file;
  for_each_adapter(adapter, [&](const std::string& module, const Tensor& down, const Tensor& up) {
    const std::string name = kohya_name(module);
    file[name + ".lora_down.weight"] = down.to(at::kHalf);
    file[name + ".lora_up.weight"] = up.to(at::kHalf);
    file[name + ".alpha"] = at::scalar_tensor(adapter.scale() * static_cast<double>(down.size(0)), at::kFloat);
  });
  auto all = metadata;
  all.merge(kohya_metadata(adapter.config(), stem_of(path)));
  save_tensors(path, file, all);
}

}  // namespace nabla
