#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace nabla {

// A file of tensors: "kind" is "safetensors" or "torch"; for a checkpoint of a diffusion model "checkpoint" says which, and where it is one that can be used,
// "components" what each has, lacks and has too much, and "passed_over" the tensors that belong to none.
nlohmann::ordered_json inspect_weights_file(const std::string& path);

// A pipeline's folder: "kind" is "model".
nlohmann::ordered_json inspect_model(const std::string& path);

}  // namespace nabla
