#include "launch/conversion.h"

#include "common/diffusion/hub_cache.h"
#include "common/diffusion/model_folder.h"
#include "common/diffusion/single_file.h"
#include "common/error.h"
#include "common/files.h"
#include "common/json_file.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

namespace nabla {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSafetensors = ".safetensors";
constexpr const char* kPickled[] = {".ckpt", ".pt", ".pth", ".bin"};

std::optional<at::ScalarType> cast_option(const std::string& name) {
  if (name.empty()) return std::nullopt;
  if (name == "float32") return at::kFloat;
  if (name == "float16") return at::kHalf;
  if (name == "bfloat16") return at::kBFloat16;
  throw usage_error("[convert] --dtype is '{}'; known are float32, float16 and bfloat16", name);
}

TensorMap cast(TensorMap tensors, std::optional<at::ScalarType> dtype) {
  if (!dtype) return tensors;
  for (auto& [name, tensor] : tensors) {
    if (tensor.is_floating_point()) tensor = tensor.to(*dtype);
  }
  return tensors;
}

// The path of a folder in another one, which is made.
std::string made_folder(const AtomicFolder& target, const char* name) {
  const std::string path = target.temporary_path() + "/" + name;
  fs::create_directory(path);
  return path;
}

Json model_index() {
  const Json none = Json::array({nullptr, nullptr});
  const auto part = [](const char* library, const char* name) { return Json::array({library, name}); };
  return {{"_class_name", "StableDiffusionPipeline"},
          {"feature_extractor", none},
          {"requires_safety_checker", false},
          {"safety_checker", none},
          {"scheduler", part("diffusers", "PNDMScheduler")},
          {"text_encoder", part("transformers", "CLIPTextModel")},
          {"tokenizer", part("transformers", "CLIPTokenizer")},
          {"unet", part("diffusers", "UNet2DConditionModel")},
          {"vae", part("diffusers", "AutoencoderKL")}};
}

void check_values(const TensorMap& tensors, const std::string& source) {
  for (const auto& [name, tensor] : tensors) require_finite(name, tensor, source);
}

void write_folder(const ModelSource& source, const std::string& path, std::optional<at::ScalarType> dtype) {
  AtomicFolder target(path, fmt::format(".tmp.{}", ::getpid()));
  for (const Component component : kComponents) {
    TensorMap tensors = require_complete(match_component(source, component), source.tensors_name(component));
    check_values(tensors, source.tensors_name(component));
    const std::string folder = made_folder(target, name_of(component));
    write_json(folder + "/config.json", source.config(component));
    save_tensors(fmt::format("{}/{}{}", folder, weights_name(component), kSafetensors), cast(std::move(tensors), dtype));
  }
  Json scheduler = source.scheduler();
  if (!scheduler.contains("_class_name")) scheduler["_class_name"] = "DDIMScheduler";
  Json index = model_index();
  index["scheduler"][1] = scheduler["_class_name"];
  write_json(made_folder(target, "scheduler") + "/scheduler_config.json", scheduler);
  source.write_tokenizer(made_folder(target, "tokenizer"));
  write_json(target.temporary_path() + "/model_index.json", index);
  target.commit();
}

// A single file brings no configuration along: what is read from it again must be what was meant.
std::string configuration_note(const ModelSource& source, const std::string& source_name, const std::string& target) {
  const SingleFile written(target);
  const auto same = [&](Component component) {
    const nlohmann::json ours(source.config(component)), theirs(written.config(component));
    const std::string name = source.config_name(component);
    if (component == Component::kUnet) return UNetConfig::from_json(ours, name).to_json() == UNetConfig::from_json(theirs, name).to_json();
    if (component == Component::kVae) return VaeConfig::from_json(ours, name).to_json() == VaeConfig::from_json(theirs, name).to_json();
    return ClipTextConfig::from_json(ours, name).to_json() == ClipTextConfig::from_json(theirs, name).to_json();
  };
  for (const Component component : kComponents) {
    bool equal = false;
    try {
      equal = same(component);
    } catch (const Error&) {  // the guess is no configuration of ours
    }
    if (!equal)
      return fmt::format(
          "\nnote: a single file carries no configuration, and {} is not Stable Diffusion v1.5's; convert it back with --like {}",
          source.config_name(component), source_name);
  }
  return "";
}

}  // namespace

void require_new_target(const std::string& target) {
  if (fs::exists(target) || fs::is_symlink(target))
    throw usage_error("[target] '{}' is there already, and nothing is overwritten; choose another name", target);
  for (const char* ending : kPickled) {
    if (target.ends_with(ending))
      throw usage_error("[target] '{}': pickled files are read, not written; the target ends in {} or is a folder", target, kSafetensors);
  }
  const fs::path parent = fs::absolute(bare_path(target)).parent_path();
  if (!fs::is_directory(parent)) throw usage_error("[target] there is no folder '{}' to write '{}' into", parent.string(), target);
}

std::string write_model(const ModelSource& source, const std::string& source_name, const std::string& target, const std::string& dtype) {
  const auto cast_to = cast_option(dtype);
  if (!target.ends_with(kSafetensors)) {
    write_folder(source, target, cast_to);
    return fmt::format("model folder {}", target);
  }
  const TensorMap tensors = single_file_tensors(source);
  check_values(tensors, source_name);
  save_tensors(target, cast(tensors, cast_to));
  return fmt::format("{} tensors in {}", tensors.size(), target) + configuration_note(source, source_name, target);
}

std::string convert_weights(const ConversionOptions& options) {
  const auto dtype = cast_option(options.dtype);
  require_new_target(options.target);
  const std::string source = resolve_model_path(options.source);
  if (!fs::exists(source)) throw data_error("[convert] there is nothing at '{}'", options.source);
  const bool from_folder = fs::is_directory(source), to_file = options.target.ends_with(kSafetensors);
  if (!options.like.empty() && (from_folder || to_file))
    throw usage_error("[convert] --like is for a single file that becomes a folder; leave it away");
  if (!from_folder && to_file) {
    const TensorMap tensors = cast(load_tensors(source), dtype);
    save_tensors(options.target, tensors);
    return fmt::format("{} tensors in {}", tensors.size(), options.target);
  }
  if (from_folder) return write_model(*ModelFolder::open(source).source(), options.source, options.target, options.dtype);
  const auto like = options.like.empty() ? nullptr : ModelFolder::open(options.like).source();
  return write_model(SingleFile(source, like), options.source, options.target, options.dtype);
}

}  // namespace nabla
