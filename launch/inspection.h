#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace nabla {

// What stands at a path or under a name in the hub cache; "kind" says which: "safetensors", "torch" (pickled weights), "model" (a pipeline's folder),
// "run", or "log" (a trajectory log, or a folder of several). Weights are not loaded. data_error for damaged files and for a path that is none of these.
nlohmann::ordered_json inspect_path(const std::string& path);

// The same for people.
std::string inspection_text(const nlohmann::ordered_json& inspection);

}  // namespace nabla
