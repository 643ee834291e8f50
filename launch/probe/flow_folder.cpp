#include "launch/probe/flow_folder.h"

#include "common/error.h"
#include "common/json_file.h"
#include "launch/probe/probe_setup.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <filesystem>

namespace nabla {

namespace fs = std::filesystem;

namespace {

// A flow network takes the base model's latents and prompt embeddings and gives a field of the latents' shape.
void check_belongs_to(const UNetConfig& flow, const ProbeOptions& options) {
  const auto source = open_model(options).source();
  const UNetConfig base = UNetConfig::from_json(nlohmann::json(source->config(Component::kUnet)), source->config_name(Component::kUnet));
  const auto describe = [](const UNetConfig& config) {
    return fmt::format("{} channels in, {} out and contexts of width {}", config.in_channels, config.out_channels,
                       config.cross_attention_dim);
  };
  if (describe(flow) == describe(base)) return;
  throw data_error("[probe] the flow network '{}' has {}, expected those of the model '{}': {}", options.flow, describe(flow),
                   options.model, describe(base));
}

}  // namespace

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
  if (!options.model.empty()) check_belongs_to(network->config(), options);
  return network;
}

}  // namespace nabla
