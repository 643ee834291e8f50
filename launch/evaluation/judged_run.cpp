#include "launch/evaluation/judged_run.h"

#include "actors/install_weights.h"
#include "common/error.h"
#include "common/files.h"
#include "common/json_file.h"
#include "common/log.h"
#include "launch/commands/log_sources.h"
#include "launch/run_folder.h"
#include "launch/yaml_config.h"
#include "learner/learner.h"
#include "protocol/endpoints.h"
#include "protocol/fleet_client.h"
#include "protocol/keys.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <filesystem>

namespace nabla {

namespace {

namespace fs = std::filesystem;

constexpr const char* kExport = "/export/pytorch_lora_weights.safetensors";
constexpr std::chrono::seconds kAnswerDeadline{10};

struct RunWord {
  std::string path;
  std::optional<std::int64_t> version;
};

RunWord parse_word(const std::string& word) {
  const std::size_t at = word.rfind('@');
  std::int64_t version = 0;
  if (fs::is_directory(word) || at == std::string::npos) return {word, std::nullopt};
  const char* const end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data() + at + 1, end, version);
  if (error != std::errc() || stop != end || version < 0) return {word, std::nullopt};
  return {word.substr(0, at), version};
}

bool goes_on(const std::string& path) { return fs::exists(path + "/endpoints.json"); }

// -1 where the run does not say.
std::int64_t exported_version(const std::string& path) {
  if (!fs::exists(path + kExport) || !fs::exists(path + "/summary.json")) return -1;
  return read_json(path + "/summary.json").value("updates", std::int64_t{-1});
}

std::int64_t install_from_learner(Workbench& bench, const JudgedRun& run) {
  FleetClientOptions options;
  const Endpoints endpoints = resolve_endpoints(run.path, std::chrono::seconds(0));
  options.control_endpoint = endpoints.control;
  if (!endpoints.key_file.empty()) options.keys = read_actor_keys(endpoints.key_file);
  options.actor_id = fmt::format("eval-{}", make_run_id());
  options.connect_deadline = options.reconnect_deadline = kAnswerDeadline;
  options.heartbeats = false;  // a visitor, whom the run counts among no actors
  FleetClient client(options, {});
  Hello hello;
  hello.actor_id = options.actor_id;
  hello.pid = getpid();
  const Welcome welcome = client.connect(hello);
  const std::int64_t version = run.version.value_or(welcome.newest_version);
  install_weights(bench, client.get_snapshot(version));
  client.leave();
  return version;
}

// A folder that is gone with this object.
class PassingFolder {
 public:
  PassingFolder() : path_((fs::temp_directory_path() / fmt::format("nabla-eval-{}", make_run_id())).string()) {
    fs::create_directories(path_);
  }
  ~PassingFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  PassingFolder(const PassingFolder&) = delete;
  PassingFolder& operator=(const PassingFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class NoObserver : public RunObserver {
 public:
  void on_start(const RunFacts&) override {}
  void on_wait(const std::string&) override {}
  void on_update(const UpdateReport&) override {}
  void on_evaluation(const EvaluationSummary&) override {}
};

// With the run's own settings: those of the command line say how to judge, not how it was trained.
RunConfig training_config(const JudgedRun& run, std::int64_t version) {
  RunConfig config = load_config({.files = {run.path + "/config.yaml"}, .assignments = {}});
  config.pretrained.model = run.config.pretrained.model;
  config.training.updates = version;
  return config;
}

std::int64_t install_from_log(Workbench& bench, const JudgedRun& run, std::int64_t version) {
  log_info("{}: version {} is trained again from the log", run.path, version);
  const PassingFolder folder;
  const RunConfig config = training_config(run, version);
  const int threads = at::get_num_threads();
  NoObserver observer;
  const LearnerResult result = replay_logs({.config = config,
                                            .config_text = config_text_of(config),
                                            .logs = logs_of({run.path}, "eval"),
                                            .run_dir = folder.path(),
                                            .run_id = make_run_id()},
                                           observer, {});
  at::set_num_threads(threads);
  at::globalContext().setDeterministicAlgorithms(false, false);
  if (result.error) std::rethrow_exception(result.error);
  if (result.summary.updates != version)
    throw data_error("[eval] {} has no version {}: its log ends after {} updates", run.path, version, result.summary.updates);
  install_lora_file(*bench.policy, folder.path() + kExport);
  return version;
}

}  // namespace

// The policy applies its own scale to what the file has scaled already.
void install_lora_file(Policy& policy, const std::string& file) {
  TensorMap lora = read_lora_file(file, policy.unet());
  for (auto& [name, tensor] : lora) {
    if (name.ends_with(".lora_B.weight")) tensor = tensor / policy.lora().scale();
  }
  policy.load(lora);
}

bool names_run(const std::string& word) { return fs::is_directory(parse_word(word).path); }

JudgedRun open_judged_run(const std::string& label, const std::string& word, const std::vector<std::string>& overrides) {
  const auto [path, version] = parse_word(word);
  if (!fs::is_regular_file(path + "/config.yaml"))
    throw data_error("[eval] there is no '{}/config.yaml'; name the folder of a run, or RUN@VERSION", path);
  if (!version && !goes_on(path) && !fs::is_regular_file(path + kExport)) {
    throw data_error(
        "[eval] there is no '{}{}': the run neither goes on nor has exported its weights; name a version of its log, as in {}@10", path,
        kExport, path);
  }
  JudgedRun run{.label = label,
                .path = path,
                .config = load_config({.files = {path + "/config.yaml"}, .assignments = overrides}),
                .version = version};
  validate(run.config);
  return run;
}

std::int64_t install_judged_weights(Workbench& bench, const JudgedRun& run) {
  if (run.version == 0) return 0;  // the base model, which the bench begins with
  if (goes_on(run.path)) {
    try {
      return install_from_learner(bench, run);
    } catch (const Error& error) {
      if (!run.version) throw;
      log_info("{}: {}", run.path, error.what());
    }
  }
  const std::int64_t exported = exported_version(run.path);
  if (run.version && run.version != exported) return install_from_log(bench, run, *run.version);
  install_lora_file(*bench.policy, run.path + kExport);
  return exported;
}

}  // namespace nabla
