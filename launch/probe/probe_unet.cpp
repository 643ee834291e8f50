#include "common/device/device.h"
#include "common/diffusion/lora.h"
#include "common/error.h"
#include "launch/probe/flow_folder.h"
#include "launch/probe/probe_setup.h"

#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

namespace nabla {

namespace {

// Prediction and, with a cotangent, the vector-Jacobian products.
nlohmann::ordered_json run_unet(UNet2DConditionModel& unet, const ProbeOptions& options) {
  TensorInput input = open_input(options, network_dtype(options));
  input.fix("C", unet.config().in_channels);
  input.fix("D", unet.config().cross_attention_dim);
  const Tensor sample = input.floats("sample", "N,C,h,w");
  const Tensor timestep = input.integers("timestep", "N");
  const Tensor context = input.floats("encoder_hidden_states", "N,L,D");
  Tensor cotangent;
  if (input.has("cotangent")) cotangent = input.floats("cotangent", fmt::format("N,{},h,w", unet.config().out_channels));
  input.finish();

  const at::AutoGradMode gradients(cotangent.defined());
  if (cotangent.defined()) {
    sample.requires_grad_(true);
    context.requires_grad_(true);
  }
  const Tensor prediction = unet.forward(sample, timestep, context);
  TensorMap output{{"prediction", prediction}};
  if (cotangent.defined()) {
    const auto products = torch::autograd::grad({prediction}, {sample, context}, {cotangent});
    output["grad_sample"] = products[0];
    output["grad_encoder_hidden_states"] = products[1];
  }
  save_output(options, output);
  return {{"parameters", count_parameters(unet)}};
}

}  // namespace

nlohmann::ordered_json probe_unet(const ProbeOptions& options) {
  const auto unet = open_model(options).load_unet(network_dtype(options));
  unet->to(parse_device(options.device));
  if (!options.lora.empty())
    LoraAdapter::attach(*unet, read_lora_file(options.lora, *unet), options.lora_scale).set_mode(WeightMode::kMerged);
  return run_unet(*unet, options);
}

nlohmann::ordered_json probe_flow(const ProbeOptions& options) {
  const auto network = load_flow_network(options);
  network->to(parse_device(options.device));
  return run_unet(*network, options);
}

}  // namespace nabla
