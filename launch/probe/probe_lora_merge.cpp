#include "common/device/device.h"
#include "common/diffusion/lora.h"
#include "launch/probe/probe_setup.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace nabla {

nlohmann::ordered_json probe_lora_merge(const ProbeOptions& options) {
  const at::NoGradGuard no_grad;
  const auto unet = open_model(options).load_unet(network_dtype(options));
  unet->to(parse_device(options.device));
  const LoraAdapter adapter = LoraAdapter::attach(*unet, read_lora_file(options.lora, *unet), options.lora_scale);
  const TensorMap merged = adapter.merged_weights();
  save_output(options, merged);
  return {{"merged", merged.size()}};
}

}  // namespace nabla
