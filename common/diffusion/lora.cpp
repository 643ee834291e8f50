#include "common/diffusion/lora.h"

#include "common/error.h"

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

void check_values(const std::string& name, const Tensor& value, const Tensor& like) {
  if (value.sizes() != like.sizes()) {
    throw data_error("[lora] tensor '{}' has shape {}, expected {}; is it of another rank or base model?", name, shape_string(value),
                     shape_string(like));
  }
  if (!at::isfinite(value).all().item<bool>()) throw data_error("[lora] tensor '{}' holds NaN or infinite values", name);
}

// Adapters compute in float32; in a float64 network in float64.
at::TensorOptions adapter_options(const LoraLinear& linear) {
  return linear.weight.options().requires_grad(false).dtype(linear.weight.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

}  // namespace

std::map<std::string, LoraLinear*> lora_linears(torch::nn::Module& network) {
  std::map<std::string, LoraLinear*> linears;
  for (const auto& item : network.named_modules()) {
    if (auto* linear = item.value()->as<LoraLinear>()) linears[item.key()] = linear;
  }
  return linears;
}

LoraAdapter LoraAdapter::create(torch::nn::Module& network, const LoraConfig& config, std::uint64_t seed) {
  if (config.rank < 1) throw usage_error("[lora] the rank is {}; it is at least 1", config.rank);
  LoraAdapter adapter;
  adapter.config_ = config;
  const auto linears = lora_linears(network);
  for (const auto& target : config.target_modules) {
    const bool found = std::any_of(linears.begin(), linears.end(), [&](const auto& item) { return is_target(item.first, {target}); });
    if (!found) throw usage_error("[lora] the network has no linear layer named '{}'", target);
  }
  const double deviation = 1.0 / static_cast<double>(config.rank);
  for (const auto& [name, linear] : linears) {
    if (!is_target(name, config.target_modules)) continue;
    const auto options = adapter_options(*linear);
    const Philox stream(seed, RandomPurpose::kInitialization, adapter.targets_.size());
    const Tensor down = (normal_tensor({config.rank, linear->weight.size(1)}, stream) * deviation).to(options);
    linear->set_adapter(down, at::zeros({linear->weight.size(0), config.rank}, options), adapter.scale());
    adapter.targets_.push_back({name, linear});
  }
  return adapter;
}

LoraAdapter LoraAdapter::attach(torch::nn::Module& network, const TensorMap& tensors, double scale) {
  LoraAdapter adapter;
  adapter.config_ = {.rank = 1, .alpha = scale, .target_modules = {}};
  const auto linears = lora_linears(network);
  for (const auto& [name, down] : tensors) {
    if (!name.ends_with(kLoraA)) continue;
    const std::string module = name.substr(0, name.size() - std::string(kLoraA).size());
    const auto linear = linears.find(module);
    const auto up = tensors.find(module + kLoraB);
    if (linear == linears.end() || up == tensors.end()) {
      throw data_error("[lora] tensor '{}' has no {}", name,
                       up == tensors.end() ? "partner " + module + kLoraB : "linear layer in this network");
    }
    const auto options = adapter_options(*linear->second);
    const std::int64_t rank = down.size(0);
    check_values(name, down, at::empty({rank, linear->second->weight.size(1)}));
    check_values(up->first, up->second, at::empty({linear->second->weight.size(0), rank}));
    linear->second->set_adapter(down.to(options, false, true), up->second.to(options, false, true), scale);
    adapter.targets_.push_back({module, linear->second});
    adapter.config_.target_modules.push_back(module);
    adapter.config_.rank = std::max(adapter.config_.rank, rank);
  }
  if (tensors.size() != 2 * adapter.targets_.size())
    throw data_error("[lora] {} tensors make no pairs of lora_A and lora_B", tensors.size());
  adapter.config_.alpha = scale * static_cast<double>(adapter.config_.rank);
  return adapter;
}

void LoraAdapter::set_mode(WeightMode mode) {
  for (const auto& target : targets_) target.linear->set_mode(mode);
}

TensorMap LoraAdapter::tensors() const {
  TensorMap tensors;
  for (const auto& target : targets_) {
    tensors[target.name + kLoraA] = target.linear->down();
    tensors[target.name + kLoraB] = target.linear->up();
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
    check_values(name, found->second, tensor);
  }
  for (auto& [name, tensor] : own) tensor.copy_(given.at(name));
  for (const auto& target : targets_) target.linear->merge();
}

TensorMap LoraAdapter::merged_weights() const {
  TensorMap weights;
  for (const auto& target : targets_) {
    target.linear->merge();
    weights[target.name + ".weight"] = target.linear->merged_weight();
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
