#pragma once

#include "common/diffusion/model_folder.h"
#include "common/json_file.h"
#include "tests/diffusion/parity_data.h"

namespace nabla {

// The UNet of tests/data/parity/lora, frozen.
inline std::shared_ptr<UNet2DConditionModel> tiny_unet(at::ScalarType dtype = at::kFloat) {
  const std::string folder = parity_file("lora/unet");
  auto unet = std::make_shared<UNet2DConditionModel>(UNetConfig::from_json(nlohmann::json(read_json(folder + "/config.json")), folder));
  unet->to(dtype);
  load_parameters(*unet, load_component_tensors(folder, "diffusion_pytorch_model"), folder);
  for (auto& parameter : unet->parameters()) parameter.requires_grad_(false);
  return unet;
}

// Inputs and outputs that diffusers and peft computed for it.
inline TensorMap tiny_unet_expected() { return load_tensors(parity_file("lora/expected.safetensors")); }

}  // namespace nabla
