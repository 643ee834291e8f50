#include "launch/inspection.h"

#include "common/diffusion/hub_cache.h"
#include "common/error.h"
#include "common/json_file.h"
#include "launch/commands/log_sources.h"
#include "launch/log/log_statistics.h"
#include "launch/weights_inspection.h"
#include "launch/yaml_config.h"

#include <algorithm>
#include <filesystem>

namespace nabla {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kWeights[] = {".safetensors", ".ckpt", ".pt", ".pth", ".bin"};

bool has_segments(const std::string& folder) {
  const auto is_segment = [](const auto& entry) { return entry.path().extension() == ".seg"; };
  return std::any_of(fs::directory_iterator(folder), fs::directory_iterator(), is_segment);
}

// The logs of a folder that hold something.
std::vector<std::string> filled_logs(const std::string& folder) {
  if (!fs::is_directory(log_root(folder))) return {};
  std::vector<std::string> logs = logs_of({folder}, "inspect");
  std::erase_if(logs, [](const std::string& log) { return !has_segments(log); });
  return logs;
}

Json inspect_logs(const std::vector<std::string>& folders) { return statistics_json(statistics_of(folders)); }

RunConfig config_of_run(const std::string& path) {
  try {
    return load_config({.files = {path + "/config.yaml"}, .assignments = {}});
  } catch (const Error& error) {
    throw data_error("{}", error.what());
  }
}

Json inspect_run(const std::string& path) {
  const RunConfig config = config_of_run(path);
  Json json{{"kind", "run"}, {"path", path}, {"name", config.run.name}, {"updates_wanted", config.training.updates}};
  if (fs::exists(path + "/summary.json")) {
    json["summary"] = read_json(path + "/summary.json");
    json["exit_reason"] = json["summary"].value("exit_reason", "");
  } else if (fs::exists(path + "/status.json")) {
    json["status"] = read_json(path + "/status.json");
    json["exit_reason"] = "none: the run goes on, or it was killed";
  } else {
    json["exit_reason"] = "none: the run has not begun";
  }
  const auto logs = filled_logs(path);
  if (!logs.empty()) json["log"] = inspect_logs(logs);
  return json;
}

}  // namespace

nlohmann::ordered_json inspect_path(const std::string& given) {
  const std::string path = resolve_model_path(given);
  if (!fs::exists(path)) throw data_error("[inspect] there is nothing at '{}'", path);
  if (!fs::is_directory(path)) {
    const bool is_weights = std::ranges::any_of(kWeights, [&](const char* ending) { return path.ends_with(ending); });
    if (is_weights) return inspect_weights_file(path);
    throw data_error("[inspect] '{}' is no file that can be inspected; *.safetensors, *.ckpt, *.pt, *.pth and *.bin files are", path);
  }
  if (fs::exists(path + "/model_index.json")) return inspect_model(path);
  if (fs::exists(path + "/config.yaml")) return inspect_run(path);
  if (const auto logs = filled_logs(path); !logs.empty()) {
    Json json{{"kind", "log"}, {"path", path}};
    json.update(inspect_logs(logs));
    return json;
  }
  throw data_error(
      "[inspect] the folder '{}' is none that can be inspected: a run has config.yaml, a model model_index.json, a trajectory log *.seg",
      path);
}

}  // namespace nabla
