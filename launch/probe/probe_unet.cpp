#include "common/device/device.h"
#include "common/diffusion/lora.h"
#include "common/error.h"
#include "common/json_file.h"
#include "launch/probe/probe_setup.h"

#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <filesystem>

namespace nabla {

namespace fs = std::filesystem;

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

// A folder with config.json and weights, or a file of weights with config.json beside it.
std::shared_ptr<UNet2DConditionModel> load_flow_network(const ProbeOptions& options) {
  const bool is_file = fs::is_regular_file(options.flow);
  if (!is_file && !fs::is_directory(options.flow)) {
    throw data_error(
        "[probe] there is no flow network '{}'; --flow takes a folder with config.json and diffusion_pytorch_model.safetensors, "
        "or a safetensors file with config.json beside it",
        options.flow);
  }
  const fs::path folder = is_file ? fs::absolute(options.flow).parent_path() : fs::path(options.flow);
  const std::string config = (folder / "config.json").string();
  auto network = std::make_shared<UNet2DConditionModel>(UNetConfig::from_json(nlohmann::json(read_json(config)), config));
  network->to(network_dtype(options));
  load_parameters(*network, is_file ? load_tensors(options.flow) : load_component_tensors(options.flow, "diffusion_pytorch_model"),
                  options.flow);
  for (auto& parameter : network->parameters()) parameter.requires_grad_(false);
  network->eval();
  return network;
}

// A flow network takes the base model's latents and prompt embeddings and gives a field of the latents' shape.
void check_belongs_to(const UNetConfig& flow, const ProbeOptions& options) {
  const std::string file = open_model(options).path() + "/unet/config.json";
  const UNetConfig base = UNetConfig::from_json(nlohmann::json(read_json(file)), file);
  const auto describe = [](const UNetConfig& config) {
    return fmt::format("{} channels in, {} out and contexts of width {}", config.in_channels, config.out_channels,
                       config.cross_attention_dim);
  };
  if (describe(flow) == describe(base)) return;
  throw data_error("[probe] the flow network '{}' has {}, expected those of the model '{}': {}", options.flow, describe(flow),
                   options.model, describe(base));
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
  if (!options.model.empty()) check_belongs_to(network->config(), options);
  network->to(parse_device(options.device));
  return run_unet(*network, options);
}

}  // namespace nabla
