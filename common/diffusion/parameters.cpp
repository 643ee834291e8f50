#include "common/diffusion/parameters.h"

#include "common/error.h"
#include "common/nearest.h"

#include <torch/types.h>

#include <algorithm>
#include <utility>

namespace nabla {

namespace {

constexpr std::size_t kNamesShown = 8;
constexpr std::int64_t kCheckedAtOnce = std::int64_t{1} << 20;

// transformers from version 5 on leaves the "text_model." in front of a text encoder's names away.
std::string full_text_encoder_name(const std::string& name, const TensorMap& wanted) {
  return wanted.contains("text_model." + name) ? "text_model." + name : name;
}

// Attention weights kept as 1x1 convolutions [o,i,1,1] (or [o,i,1]) become [o,i].
Tensor squeezed_to(const Tensor& tensor, const Tensor& like) {
  const bool pointwise = tensor.dim() > 2 && like.dim() == 2 && tensor.size(0) * tensor.size(1) == tensor.numel();
  return pointwise ? tensor.flatten(1) : tensor;
}

// In pieces: the check of a whole tensor would take several times its memory.
bool all_finite(const Tensor& tensor) {
  const Tensor flat = tensor.reshape(-1);
  for (std::int64_t begin = 0; begin < flat.numel(); begin += kCheckedAtOnce) {
    if (!at::isfinite(flat.narrow(0, begin, std::min(kCheckedAtOnce, flat.numel() - begin))).all().item<bool>()) return false;
  }
  return true;
}

}  // namespace

std::string modern_attention_name(std::string name) {
  constexpr std::pair<std::string_view, std::string_view> kRenames[] = {
      {".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."}};
  if (name.find(".mid_block.attentions.0.") == std::string::npos) return name;
  for (const auto& [from, to] : kRenames) {
    if (const auto at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
  }
  return name;
}

TensorMap named_tensors(const torch::nn::Module& module) {
  TensorMap tensors;
  for (const auto& item : module.named_parameters()) tensors[item.key()] = item.value();
  return tensors;
}

ParameterMatch match_parameters(const torch::nn::Module& module, TensorMap tensors) {
  const TensorMap wanted = named_tensors(module);
  ParameterMatch match;
  for (auto& [name, tensor] : tensors) match.tensors[full_text_encoder_name(modern_attention_name(name), wanted)] = std::move(tensor);
  std::erase_if(match.tensors, [&](const auto& item) {
    if (wanted.contains(item.first)) return false;
    if (!item.first.ends_with("position_ids")) match.unexpected.push_back(item.first);
    return true;
  });
  for (const auto& [name, parameter] : wanted) {
    const auto found = match.tensors.find(name);
    if (found == match.tensors.end()) {
      match.missing.push_back(name);
      continue;
    }
    found->second = squeezed_to(found->second, parameter);
    if (found->second.sizes() == parameter.sizes()) continue;
    match.wrong_shapes.push_back(
        fmt::format("'{}' has shape {}, the configuration asks for {}", name, shape_string(found->second), shape_string(parameter)));
  }
  return match;
}

TensorMap require_complete(ParameterMatch match, const std::string& source) {
  if (!match.missing.empty() || !match.unexpected.empty()) {
    throw data_error(
        "[model] {}: {} tensors are missing ({}) and {} unexpected ({}); does config.json belong to this file? `nabla inspect` lists all",
        source, match.missing.size(), comma_list(match.missing, kNamesShown), match.unexpected.size(),
        comma_list(match.unexpected, kNamesShown));
  }
  if (!match.wrong_shapes.empty()) throw data_error("[model] {}: tensor {}", source, comma_list(match.wrong_shapes, kNamesShown));
  return std::move(match.tensors);
}

void require_finite(const std::string& name, const Tensor& tensor, const std::string& source) {
  if (!tensor.is_floating_point() || all_finite(tensor)) return;
  throw data_error("[model] {}: tensor '{}' holds NaN or infinite values; the file is damaged", source, name);
}

void load_parameters(torch::nn::Module& module, TensorMap tensors, const std::string& source) {
  const at::NoGradGuard no_grad;
  TensorMap given = require_complete(match_parameters(module, std::move(tensors)), source);
  for (auto& item : module.named_parameters()) {
    Tensor& tensor = given.at(item.key());
    require_finite(item.key(), tensor, source);
    item.value().copy_(tensor);
    tensor.reset();
  }
}

void place_parameters(torch::nn::Module& module, const Placement& placement) {
  const at::NoGradGuard no_grad;
  for (auto& parameter : module.parameters()) {
    const Tensor placed = at::empty_like(parameter, parameter.options().dtype(placement.dtype).device(placement.device));
    // What set_data() does, which refuses the meta device.
    parameter.unsafeGetTensorImpl()->shallow_copy_from(placed.getIntrusivePtr());
  }
}

}  // namespace nabla
