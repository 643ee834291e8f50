#include "common/diffusion/lora.h"

#include "common/error.h"

#include <fmt/ranges.h>
#include <torch/types.h>

#include <algorithm>
#include <set>

namespace nabla {

namespace {

constexpr const char* kLoraA = ".lora_A.weight";
constexpr const char* kLoraB = ".lora_B.weight";

// peft's rule: the whole name or a suffix that begins at a dot.
bool is_target(const std::string& name, const std::vector<std::string>& targets) {
  return std::any_of(targets.begin(), targets.end(),
                     [&](const std::string& target) { return name == target || name.ends_with("." + target); });
}

void check_values(const std::string& name, const Tensor& value, at::IntArrayRef shape) {
  if (value.sizes() != shape) {
    throw data_error("[lora] tensor '{}' has shape {}, expected [{}]; is it of another rank or base model?", name, shape_string(value),
                     fmt::join(shape, ", "));
  }
  if (!at::isfinite(value).all().item<bool>()) throw data_error("[lora] tensor '{}' holds NaN or infinite values", name);
}

// Adapters compute in float32; in a float64 network in float64.
at::TensorOptions adapter_options(const LoraLayer& layer) {
  const Tensor& weight = layer.base_weight();
  return weight.options().requires_grad(false).dtype(weight.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

}  // namespace

std::map<std::string, LoraLayer*> lora_layers(torch::nn::Module& network) {
  std::map<std::string, LoraLayer*> layers;
  for (const auto& item : network.named_modules("", /*include_self=*/false)) {
    if (auto* layer = dynamic_cast<LoraLayer*>(item.value().get())) layers[item.key()] = layer;
  }
  return layers;
}

LoraAdapter LoraAdapter::create(torch::nn::Module& network, const LoraConfig& config, std::uint64_t seed) {
  if (config.rank < 1) throw usage_error("[lora] the rank is {}; it is at least 1", config.rank);
  LoraAdapter adapter;
  adapter.config_ = config;
  const auto layers = lora_layers(network);
  for (const auto& target : config.target_modules) {
    const bool found = std::any_of(layers.begin(), layers.end(), [&](const auto& item) { return is_target(item.first, {target}); });
    if (!found) throw usage_error("[lora] the network has no layer named '{}'", target);
  }
  const double deviation = 1.0 / static_cast<double>(config.rank);
  for (const auto& [name, layer] : layers) {
    if (!is_target(name, config.target_modules)) continue;
    const auto options = adapter_options(*layer);
    const Philox stream(seed, RandomPurpose::kInitialization, adapter.targets_.size());
    const Tensor down = (normal_tensor(layer->down_shape(config.rank), stream) * deviation).to(options);
    layer->set_adapter(down, at::zeros(layer->up_shape(config.rank), options), adapter.scale());
    adapter.targets_.push_back({name, layer});
  }
  return adapter;
}

LoraAdapter LoraAdapter::attach(torch::nn::Module& network, const TensorMap& tensors, double scale) {
  LoraAdapter adapter;
  adapter.config_ = {.rank = 1, .alpha = scale, .target_modules = {}};
  const auto layers = lora_layers(network);
  for (const auto& [name, down] : tensors) {
    if (!name.ends_with(kLoraA)) continue;
    const std::string module = name.substr(0, name.size() - std::string(kLoraA).size());
    const auto layer = layers.find(module);
    const auto up = tensors.find(module + kLoraB);
    if (layer == layers.end() || up == tensors.end()) {
      throw data_error("[lora] tensor '{}' has no {}", name, up == tensors.end() ? "partner " + module + kLoraB : "layer in this network");
    }
    const auto options = adapter_options(*layer->second);
    const std::int64_t rank = down.size(0);
    check_values(name, down, layer->second->down_shape(rank));
    check_values(up->first, up->second, layer->second->up_shape(rank));
    layer->second->set_adapter(down.to(options, false, true), up->second.to(options, false, true), scale);
    adapter.targets_.push_back({module, layer->second});
    adapter.config_.target_modules.push_back(module);
    adapter.config_.rank = std::max(adapter.config_.rank, rank);
  }
  if (tensors.size() != 2 * adapter.targets_.size())
    throw data_error("[lora] {} tensors make no pairs of lora_A and lora_B", tensors.size());
  adapter.config_.alpha = scale * static_cast<double>(adapter.config_.rank);
  return adapter;
}

void LoraAdapter::set_mode(WeightMode mode) {
  for (const auto& target : targets_) target.layer->set_mode(mode);
}

TensorMap LoraAdapter::tensors() const {
  TensorMap tensors;
  for (const auto& target : targets_) {
    tensors[target.name + kLoraA] = target.layer->down();
    tensors[target.name + kLoraB] = target.layer->up();
  }
  return tensors;
}

void LoraAdapter::load(const TensorMap& given) {
  const at::NoGradGuard no_grad;
  TensorMap own = tensors();
  for (const auto& [name, tensor] : given) {
    if (!own.contains(name)) throw data_error("[lora] tensor '{}' belongs to no adapter of this network", name);
  }
  for (const auto& [name, tensor] : own) {
    const auto found = given.find(name);
    if (found == given.end()) throw data_error("[lora] tensor '{}' of shape {} is missing", name, shape_string(tensor));
    check_values(name, found->second, tensor.sizes());
  }
  for (auto& [name, tensor] : own) tensor.copy_(given.at(name));
  for (const auto& target : targets_) target.layer->merge();
}

TensorMap LoraAdapter::merged_weights() const {
  TensorMap weights;
  for (const auto& target : targets_) {
    weights[target.name + ".weight"] = target.layer->merged_weight();
  }
  return weights;
}

std::vector<Tensor> LoraAdapter::parameters() const {
  std::vector<Tensor> parameters;
  for (const auto& [name, tensor] : tensors()) parameters.push_back(tensor);
  return parameters;
}

void LoraAdapter::require_grad(bool on) {
  for (auto& parameter : parameters()) parameter.requires_grad_(on);
}

}  // namespace nabla
