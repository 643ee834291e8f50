#include "launch/inspection.h"

#include "common/diffusion/model_folder.h"
#include "common/error.h"
#include "common/json_file.h"
#include "common/safetensors.h"
#include "launch/yaml_config.h"
#include "protocol/trajectory_log.h"

#include <algorithm>
#include <filesystem>
#include <set>

namespace nabla {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

std::uint64_t elements_of(const TensorInfo& info) { return (info.end - info.begin) / byte_size(info.dtype); }

Json inspect_safetensors(const std::string& path) {
  const auto file = SafetensorsFile::open(path);
  Json tensors = Json::array();
  std::uint64_t elements = 0, bytes = 0;
  for (const auto& [name, info] : file->tensors()) {
    tensors.push_back({{"name", name}, {"dtype", name_of(info.dtype)}, {"shape", info.shape}, {"bytes", info.end - info.begin}});
    elements += elements_of(info);
    bytes += info.end - info.begin;
  }
  return {{"kind", "safetensors"},
          {"path", path},
          {"metadata", file->metadata()},
          {"tensors", tensors},
          {"total", {{"tensors", file->tensors().size()}, {"elements", elements}, {"bytes", bytes}}}};
}

Json inspect_component(const std::string& folder, const std::string& base_name) {
  std::int64_t parameters = 0;
  std::size_t bytes = 0;
  std::set<std::string> dtypes;
  const TensorMap tensors = load_component_tensors(folder, base_name);
  for (const auto& [name, tensor] : tensors) {
    parameters += tensor.numel();
    bytes += tensor.nbytes();
    dtypes.emplace(name_of(dtype_of(tensor)));
  }
  const auto config = read_json(folder + "/config.json");
  return {{"class", config.value("_class_name", config.value("model_type", ""))},
          {"parameters", parameters},
          {"tensors", tensors.size()},
          {"bytes", bytes},
          {"dtypes", dtypes}};
}

Json inspect_model(const std::string& path) {
  const ModelFolder folder = ModelFolder::open(path);
  const std::pair<const char*, const char*> components[] = {
      {"unet", "diffusion_pytorch_model"}, {"vae", "diffusion_pytorch_model"}, {"text_encoder", "model"}, {"reward", "model"}};
  Json parts = Json::object();
  std::int64_t parameters = 0;
  for (const auto& [name, base_name] : components) {
    const std::string component = fmt::format("{}/{}", path, name);
    if (std::string(name) == "reward" && !fs::is_directory(component)) continue;
    parts[name] = inspect_component(component, base_name);
    parameters += parts[name]["parameters"].get<std::int64_t>();
  }
  return {{"kind", "model"},
          {"path", path},
          {"components", parts},
          {"parameters", parameters},
          {"tokenizer_length", folder.load_tokenizer().max_length()},
          {"scheduler", folder.scheduler().to_json()}};
}

// Sums over the entries of one or several logs of a run.
struct LogTally {
  std::string run_id, weights_contract, last_digest;
  std::int64_t records = 0, relabelled = 0, unreadable = 0, updates = 0, trained = 0, last_version = -1, transitions = 0;
  std::uint64_t record_bytes = 0;
  std::map<std::string, std::int64_t> discards;
  std::set<std::int64_t> versions;
  std::set<std::string> actors;
  double reward_sum = 0.0, lag_sum = 0.0;
  std::int64_t lag_max = 0;
  std::vector<std::string> warnings;

  void add(const LogHeader& header) {
    run_id = header.run_id;
    weights_contract = header.weights_contract;
  }
  void add(const PublishEntry& entry) {
    versions.insert(entry.version);
    if (entry.version < last_version) return;
    last_version = entry.version;
    last_digest = entry.digest;
  }
  void add(const DiscardEntry& entry) { ++discards[entry.reason]; }
  void add(const TrainedEntry& entry) {
    updates = std::max(updates, entry.update + 1);
    trained += static_cast<std::int64_t>(entry.slots.size());
  }
  void add(const EncodedRecord& encoded) {
    record_bytes += encoded.header.view.size() + encoded.data.view.size();
    const DecodeResult result = decode_record(encoded, {.check_crc = false, .check_finite = false});
    if (result.reject != Reject::kNone) {
      ++unreadable;
      return;
    }
    const RecordHeader& header = result.record.header;
    ++(header.kind == TicketKind::kSample ? records : relabelled);
    transitions += static_cast<std::int64_t>(header.transitions.size());
    actors.insert(header.actor_id);
    reward_sum += header.reward;
    const std::int64_t lag = std::max<std::int64_t>(header.update - header.version, 0);
    lag_sum += static_cast<double>(lag);
    lag_max = std::max(lag_max, lag);
  }
};

Json log_json(const LogTally& tally) {
  const auto readable = static_cast<double>(std::max<std::int64_t>(tally.records + tally.relabelled, 1));
  return {{"run_id", tally.run_id},
          {"weights_contract", tally.weights_contract},
          {"records", tally.records},
          {"relabelled", tally.relabelled},
          {"unreadable", tally.unreadable},
          {"record_bytes", tally.record_bytes},
          {"transitions", tally.transitions},
          {"reward_mean", tally.reward_sum / readable},
          {"policy_lag", {{"mean", tally.lag_sum / readable}, {"max", tally.lag_max}}},
          {"actors", tally.actors},
          {"versions", tally.versions.size()},
          {"last_version", tally.last_version},
          {"last_digest", tally.last_digest},
          {"updates", tally.updates},
          {"trained", tally.trained},
          {"discards", tally.discards},
          {"warnings", tally.warnings}};
}

void read_log(const std::string& folder, LogTally& tally) {
  TrajectoryLogReader reader(folder);
  while (const auto entry = reader.next()) std::visit([&](const auto& value) { tally.add(value); }, *entry);
  tally.warnings.insert(tally.warnings.end(), reader.warnings().begin(), reader.warnings().end());
}

bool has_segments(const std::string& folder) {
  const auto is_segment = [](const auto& entry) { return entry.path().extension() == ".seg"; };
  return std::any_of(fs::directory_iterator(folder), fs::directory_iterator(), is_segment);
}

// The folder itself or its rank-* folders, those with segments.
std::vector<std::string> log_folders(const std::string& folder) {
  std::vector<std::string> folders;
  if (!fs::is_directory(folder)) return folders;
  if (has_segments(folder)) folders.push_back(folder);
  for (const auto& entry : fs::directory_iterator(folder)) {
    const bool is_rank = entry.is_directory() && entry.path().filename().string().starts_with("rank-");
    if (is_rank && has_segments(entry.path().string())) folders.push_back(entry.path().string());
  }
  std::ranges::sort(folders);
  return folders;
}

Json inspect_logs(const std::vector<std::string>& folders) {
  LogTally tally;
  for (const auto& folder : folders) read_log(folder, tally);
  return log_json(tally);
}

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
  const auto logs = log_folders(config.log.dir.empty() ? path + "/queue" : config.log.dir);
  if (!logs.empty()) json["log"] = inspect_logs(logs);
  return json;
}

}  // namespace

nlohmann::ordered_json inspect_path(const std::string& path) {
  if (!fs::exists(path)) throw data_error("[inspect] there is nothing at '{}'", path);
  if (!fs::is_directory(path)) {
    if (path.ends_with(".safetensors")) return inspect_safetensors(path);
    throw data_error("[inspect] '{}' is no file that can be inspected; *.safetensors files are", path);
  }
  if (fs::exists(path + "/model_index.json")) return inspect_model(path);
  if (fs::exists(path + "/config.yaml")) return inspect_run(path);
  if (const auto logs = log_folders(path); !logs.empty()) {
    Json json{{"kind", "log"}, {"path", path}};
    json.update(inspect_logs(logs));
    return json;
  }
  throw data_error(
      "[inspect] the folder '{}' is none that can be inspected: a run has config.yaml, a model model_index.json, a trajectory log *.seg",
      path);
}

}  // namespace nabla
