#include "launch/weights_inspection.h"

#include "common/diffusion/ldm_names.h"
#include "common/diffusion/model_folder.h"
#include "common/diffusion/single_file.h"
#include "common/error.h"
#include "common/json_file.h"
#include "common/safetensors.h"
#include "common/torch_file.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <filesystem>
#include <set>

namespace nabla {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

// One row a tensor, and the sums.
class TensorTable {
 public:
  void add(const std::string& name, DType dtype, const std::vector<std::int64_t>& shape) {
    std::uint64_t elements = 1;
    for (const std::int64_t size : shape) elements *= static_cast<std::uint64_t>(size);
    const std::uint64_t bytes = elements * byte_size(dtype);
    rows_.push_back({{"name", name}, {"dtype", name_of(dtype)}, {"shape", shape}, {"bytes", bytes}});
    elements_ += elements;
    bytes_ += bytes;
  }
  void write(Json& json) const {
    json["tensors"] = rows_;
    json["total"] = {{"tensors", rows_.size()}, {"elements", elements_}, {"bytes", bytes_}};
  }

 private:
  Json rows_ = Json::array();
  std::uint64_t elements_ = 0, bytes_ = 0;
};

Json inspect_safetensors(const std::string& path) {
  const auto file = SafetensorsFile::open(path);
  Json json{{"kind", "safetensors"}, {"path", path}, {"metadata", file->metadata()}};
  TensorTable table;
  for (const auto& [name, info] : file->tensors()) table.add(name, info.dtype, info.shape);
  table.write(json);
  return json;
}

Json inspect_torch_file(const std::string& path) {
  const auto file = TorchFile::open(path);
  Json json{{"kind", "torch"}, {"path", path}, {"left_out", file->left_out()}};
  TensorTable table;
  for (const auto& [name, tensor] : file->tensors()) table.add(name, tensor.dtype, tensor.shape);
  table.write(json);
  return json;
}

Json inspect_tensors(const TensorMap& tensors) {
  std::int64_t parameters = 0;
  std::size_t bytes = 0;
  std::set<std::string> dtypes;
  for (const auto& [name, tensor] : tensors) {
    parameters += tensor.numel();
    bytes += tensor.nbytes();
    dtypes.emplace(name_of(dtype_of(tensor)));
  }
  return {{"parameters", parameters}, {"tensors", tensors.size()}, {"bytes", bytes}, {"dtypes", dtypes}};
}

// With the report of a load: all names, where the load itself names the first few.
Json inspect_component(const ModelSource& source, Component component) {
  const Json config = source.config(component);
  Json json{{"class", config.value("_class_name", config.value("model_type", ""))}};
  json.update(inspect_tensors(source.tensors(component)));
  const ParameterMatch match = match_component(source, component);
  if (!match.missing.empty()) json["missing"] = match.missing;
  if (!match.unexpected.empty()) json["unexpected"] = match.unexpected;
  if (!match.wrong_shapes.empty()) json["wrong_shapes"] = match.wrong_shapes;
  return json;
}

Json inspect_components(const ModelSource& source) {
  Json parts = Json::object();
  for (const Component component : {Component::kUnet, Component::kVae, Component::kTextEncoder})
    parts[name_of(component)] = inspect_component(source, component);
  return parts;
}

// Says which diffusion model a file of tensors is, if it is one.
void add_checkpoint(Json& json, const std::string& path) {
  const TensorMap tensors = load_tensors(path);
  const std::string other = other_family(tensors);
  const auto unet = tensors.lower_bound(kLdmUnetPrefix);
  if (!other.empty()) {
    json["checkpoint"] = other;
  } else if (unet != tensors.end() && unet->first.starts_with(kLdmUnetPrefix)) {
    json["checkpoint"] = "a Stable Diffusion v1.x checkpoint";
    try {
      const SingleFile file(path);
      json["components"] = inspect_components(file);
      json["passed_over"] = file.left_out();
    } catch (const Error& error) {
      json["problem"] = error.what();
    }
  }
}

}  // namespace

nlohmann::ordered_json inspect_weights_file(const std::string& path) {
  Json json = is_torch_file(path) ? inspect_torch_file(path) : inspect_safetensors(path);
  add_checkpoint(json, path);
  return json;
}

nlohmann::ordered_json inspect_model(const std::string& path) {
  const ModelFolder model = ModelFolder::open(path);
  Json parts = inspect_components(*model.source());
  if (const std::string reward = path + "/reward"; fs::is_directory(reward)) {
    const auto config = read_json(reward + "/config.json");
    parts["reward"] = {{"class", config.value("_class_name", config.value("model_type", ""))}};
    parts["reward"].update(inspect_tensors(load_component_tensors(reward, "model")));
  }
  std::int64_t parameters = 0;
  for (const auto& [name, part] : parts.items()) parameters += part["parameters"].get<std::int64_t>();
  return {{"kind", "model"},
          {"path", path},
          {"components", parts},
          {"parameters", parameters},
          {"tokenizer_length", model.load_tokenizer().max_length()},
          {"scheduler", model.scheduler().to_json()}};
}

}  // namespace nabla
