#include "common/diffusion/initialization.h"

#include "common/diffusion/tensors.h"

#include <torch/types.h>

#include <cmath>
#include <map>
#include <string>

namespace nabla {

namespace {

constexpr double kEmbeddingDeviation = 0.02;

void fill_uniform(Tensor& tensor, double bound, Philox stream) {
  const Tensor values = at::empty(tensor.sizes(), at::kFloat);  // in the order of indices, whatever the parameter's memory format
  float* out = values.data_ptr<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) out[i] = static_cast<float>(bound * (2.0 * stream.uniform() - 1.0));
  tensor.copy_(values);
}

bool is_norm(const std::string& name) { return name.find("norm") != std::string::npos || name.find("layrnorm") != std::string::npos; }

bool ends_with(const std::string& name, const std::string& ending) {
  return name.size() >= ending.size() && name.compare(name.size() - ending.size(), ending.size(), ending) == 0;
}

}  // namespace

void initialize_parameters(torch::nn::Module& module, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  std::map<std::string, Tensor> parameters;
  for (const auto& item : module.named_parameters()) parameters[item.key()] = item.value();
  std::uint64_t index = 0;
  for (auto& [name, value] : parameters) {
    const Philox stream(seed, RandomPurpose::kInitialization, index++);
    const bool bias = ends_with(name, "bias");
    if (is_norm(name) && value.dim() == 1) {
      value.fill_(bias ? 0.0 : 1.0);
    } else if (ends_with(name, "embedding.weight") && name.find("patch") == std::string::npos) {
      value.copy_(normal_tensor(value.sizes().vec(), stream) * kEmbeddingDeviation);
    } else if (ends_with(name, "class_embedding")) {
      value.copy_(normal_tensor(value.sizes().vec(), stream) * kEmbeddingDeviation);
    } else {
      const auto weight = bias ? parameters.find(name.substr(0, name.size() - 4) + "weight") : parameters.end();
      const Tensor& shaped = weight != parameters.end() ? weight->second : value;
      const double fan_in = static_cast<double>(shaped.numel() / shaped.size(0));
      fill_uniform(value, 1.0 / std::sqrt(fan_in), stream);
    }
  }
}

}  // namespace nabla
