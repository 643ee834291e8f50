#include "launch/probe/probe_setup.h"

#include "common/device/device.h"
#include "common/error.h"
#include "common/files.h"

#include <torch/types.h>

namespace nabla {

namespace {

constexpr std::size_t kMaxTextFile = std::size_t{64} << 20;

}  // namespace

at::ScalarType network_dtype(const ProbeOptions& options) {
  if (options.dtype == "float32") return at::kFloat;
  if (options.dtype == "float64") return at::kDouble;
  if (options.dtype == "bfloat16") return at::kBFloat16;
  throw usage_error("[probe] --dtype is '{}'; known are float32, float64 and bfloat16", options.dtype);
}

at::ScalarType latent_dtype(const ProbeOptions& options) { return network_dtype(options) == at::kDouble ? at::kDouble : at::kFloat; }

TensorInput open_input(const ProbeOptions& options, at::ScalarType dtype) { return {options.in, parse_device(options.device), dtype}; }

void save_output(const ProbeOptions& options, const TensorMap& tensors) {
  TensorMap outputs;
  for (const auto& [name, tensor] : tensors) outputs[name] = tensor.to(latent_dtype(options));
  save_tensors(options.out, outputs);
}

ModelFolder open_model(const ProbeOptions& options) { return ModelFolder::open(options.model); }

std::int64_t count_parameters(const torch::nn::Module& module) {
  std::int64_t count = 0;
  for (const auto& parameter : module.parameters()) count += parameter.numel();
  return count;
}

std::vector<std::string> read_lines(const std::string& path) {
  const std::string content = read_file(path, kMaxTextFile);
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    lines.push_back(content.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace nabla
