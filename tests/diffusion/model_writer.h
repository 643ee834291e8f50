#pragma once

#include "common/diffusion/initialization.h"
#include "common/diffusion/model_folder.h"
#include "common/json_file.h"
#include "tests/diffusion/tiny_configs.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>

namespace nabla {

// <folder>/config.json and <folder>/<base_name>.safetensors of a network with random weights.
template <class Network, class Config>
void write_network(const std::string& folder, const std::string& base_name, const Config& config, std::uint64_t seed) {
  Network network(config);
  initialize_parameters(network, seed);
  std::filesystem::create_directories(folder);
  write_json(folder + "/config.json", config.to_json());
  save_tensors(folder + "/" + base_name + ".safetensors", named_tensors(network));
}

// model_index.json and the scheduler of Stable Diffusion v1.5.
inline void write_pipeline(const std::string& folder) {
  std::filesystem::create_directories(folder + "/scheduler");
  write_json(folder + "/scheduler/scheduler_config.json", stable_diffusion_schedule().to_json());
  write_json(folder + "/model_index.json", {{"_class_name", "StableDiffusionPipeline"}});
}

}  // namespace nabla
