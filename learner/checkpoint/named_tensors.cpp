#include "learner/checkpoint/named_tensors.h"

#include "common/error.h"

#include <torch/nn/module.h>
#include <torch/types.h>

namespace nabla {

TensorMap copies_of(const TensorMap& tensors) {
  const at::NoGradGuard no_grad;
  TensorMap copies;
  for (const auto& [name, tensor] : tensors) copies[name] = tensor.detach().to(at::kCPU, tensor.scalar_type(), false, true).contiguous();
  return copies;
}

void copy_values(const char* what, const TensorMap& from, const TensorMap& to) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : from) {
    if (!to.contains(name)) throw data_error("[checkpoint] {}: tensor '{}' belongs to no part of this run", what, name);
  }
  for (const auto& [name, target] : to) {
    const auto found = from.find(name);
    if (found == from.end()) throw data_error("[checkpoint] {}: tensor '{}' is missing", what, name);
    if (found->second.sizes() != target.sizes() || found->second.scalar_type() != target.scalar_type()) {
      throw data_error("[checkpoint] {}: tensor '{}' has shape {}, {} is expected", what, name, shape_string(found->second),
                       shape_string(target));
    }
  }
  for (const auto& [name, target] : to) Tensor(target).copy_(from.at(name));
}

TensorMap parameters_by_name(const torch::nn::Module& module) {
  TensorMap tensors;
  for (const auto& entry : module.named_parameters()) tensors[entry.key()] = entry.value();
  return tensors;
}

void add_with_prefix(TensorMap& target, const std::string& prefix, const TensorMap& tensors) {
  for (const auto& [name, tensor] : tensors) target[prefix + name] = tensor;
}

TensorMap with_prefix(const TensorMap& tensors, const std::string& prefix) {
  TensorMap part;
  for (auto it = tensors.lower_bound(prefix); it != tensors.end() && it->first.starts_with(prefix); ++it)
    part[it->first.substr(prefix.size())] = it->second;
  return part;
}

}  // namespace nabla
