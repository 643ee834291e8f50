#include "common/diffusion/merged_source.h"

#include "common/error.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace nabla {

nlohmann::ordered_json MergedSource::config(Component component) const { return base_->config(component); }

nlohmann::ordered_json MergedSource::scheduler() const { return base_->scheduler(); }

TensorMap MergedSource::tensors(Component component) const {
  TensorMap tensors = base_->tensors(component);
  if (component != Component::kUnet) return tensors;
  for (const auto& [name, weight] : weights_) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) throw data_error("[model] {} has no tensor '{}' to merge into", tensors_name(component), name);
    found->second = weight.to(found->second.scalar_type());
  }
  return tensors;
}

}  // namespace nabla
