#include "launch/resume.h"

#include "common/error.h"
#include "launch/live/control_point.h"
#include "learner/weights_contract.h"

#include <CLI/CLI.hpp>

#include <filesystem>

namespace nabla {

namespace {

namespace fs = std::filesystem;

// The run folder that goes on, and the checkpoint where one was named; an empty folder: a new run begins.
struct Choice {
  std::string folder, checkpoint;
};

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// RUNS/NAME/latest will point to another run while this one goes on.
std::string without_link(const std::string& path) { return fs::is_symlink(path) ? fs::canonical(path).string() : path; }

Choice choose_named(const std::string& path) {
  if (holds_begun_run(path)) return {without_link(path), ""};
  const fs::path checkpoint(path), run = checkpoint.parent_path().parent_path();
  if (checkpoint.parent_path().filename() == "checkpoints" && fs::is_directory(checkpoint) && holds_begun_run(run.string())) {
    const fs::path folder = without_link(run.string());
    return {folder.string(), (folder / "checkpoints" / checkpoint.filename()).string()};
  }
  throw usage_error(
      "[resume] '{}' is no run that began, and no checkpoint of one (RUN/checkpoints/update-NNNNNN); expected never, auto, latest, or one "
      "of these",
      path);
}

Choice choose(const RunConfig& config) {
  const std::string &resume = config.resume, &dir = config.run.dir;
  if (resume == "never") return {};
  if (resume == "auto") {
    if (dir.empty())
      throw usage_error(
          "[resume] resume is auto, but a run folder with the time in its name is always a new one; set run.dir, or resume=latest");
    return {holds_begun_run(dir) ? without_link(without_slash(dir)) : "", ""};
  }
  if (resume != "latest") {
    Choice named = choose_named(without_slash(resume));
    if (!dir.empty() && fs::weakly_canonical(dir) != fs::weakly_canonical(named.folder))
      throw usage_error("[resume] run.dir is '{}', but a run goes on in its own folder, '{}'; leave out run.dir", dir, named.folder);
    return named;
  }
  const std::string path = dir.empty() ? "runs/" + config.run.name + "/latest" : without_slash(dir);
  if (!holds_begun_run(path)) throw usage_error("[resume] resume is latest, but '{}' holds no run that began", path);
  return {fs::canonical(path).string(), ""};
}

void require_ended(const std::string& folder) {
  for (const char* role : {"train", "learner"}) {
    const auto point = read_control_point(folder, role);
    if (point && may_be_alive(*point))
      throw usage_error("[resume] the run in '{}' is alive: its {} is process {} on {}", folder, role, point->pid, point->host);
  }
}

void require_same_contract(const std::string& folder, const RunConfig& config) {
  const RunConfig before = load_config({.files = {folder + "/config.yaml"}, .assignments = {}});
  std::string differences;
  for (const auto& difference : differences_in_contract(before, config)) differences += (differences.empty() ? "" : "; ") + difference;
  if (differences.empty()) return;
  throw usage_error(
      "[resume] the run in '{}' cannot go on with other options that decide its weights: {}. Leave them as they were (or leave out "
      "--config), or begin a new run",
      folder, differences);
}

void add_resume(ConfigSources& sources, const ResumeOptions& options) {
  if (!options.from.empty()) sources.assignments.push_back("resume=" + options.from);
}

RunConfig config_of(ConfigSources sources, const Choice& choice) {
  if (sources.files.empty()) sources.files.push_back(choice.folder + "/config.yaml");
  RunConfig config = load_config(sources);
  config.run.dir = choice.folder;
  return config;
}

}  // namespace

void add_resume_options(CLI::App& command, ResumeOptions& options) {
  command
      .add_option("--resume", options.from,
                  "Go on with a run: auto (run.dir, where it holds one), latest, a run folder or a checkpoint; the same as resume=...")
      ->type_name("auto|latest|PATH|never");
  command.add_flag("--requeue", options.requeue,
                   "End with exit code 75 when a signal stops the run, as SIGUSR1 always does: a scheduler then starts it again");
}

RunConfig config_to_run(ConfigSources sources, const ResumeOptions& options) {
  add_resume(sources, options);
  RunConfig config = load_config(sources);
  if (!sources.files.empty()) return config;
  const Choice choice = choose(config);
  return choice.folder.empty() ? config : config_of(sources, choice);
}

PreparedRun prepare_run(const std::string& command, ConfigSources& sources, const ResumeOptions& options,
                        const std::function<void(const RunConfig&)>& check) {
  add_resume(sources, options);
  std::vector<std::string> line{"nabla", command};
  for (const auto& file : sources.files) line.insert(line.end(), {"--config", file});
  line.insert(line.end(), sources.assignments.begin(), sources.assignments.end());
  RunConfig config = load_config(sources);
  const Choice choice = choose(config);
  if (!choice.folder.empty()) config = config_of(sources, choice);
  validate(config);
  check(config);
  if (choice.folder.empty()) {
    RunFolder folder = create_run_folder(config, line);
    return {std::move(folder), config};
  }
  require_ended(choice.folder);
  require_same_contract(choice.folder, config);
  return {reopen_run_folder(config, line), config, true, choice.checkpoint};
}

bool wants_requeue(const StopSignals& signals, const ResumeOptions& options) {
  return signals.asks_requeue() || (options.requeue && signals.by_signal());
}

int exit_after(const StopSignals& signals, const ResumeOptions& options, bool stopped) {
  return static_cast<int>(stopped && wants_requeue(signals, options) ? ExitCode::kRequeue : ExitCode::kOk);
}

}  // namespace nabla
