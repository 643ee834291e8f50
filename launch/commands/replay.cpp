#include "common/error.h"
#include "common/log.h"
#include "launch/command.h"
#include "launch/commands/config_options.h"
#include "launch/run_folder.h"
#include "launch/run_recorder.h"
#include "launch/signals.h"
#include "learner/learner.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>

namespace nabla {

namespace {

namespace fs = std::filesystem;

struct ReplayCommand {
  std::vector<std::string> sources;   // run folders, or folders of trajectory logs
  bool quiet = false, json_logs = false;
};

// RUN -> RUN/queue/rank-*; a log folder stands for itself.
std::vector<std::string> logs_of(const std::vector<std::string>& sources) {
  std::vector<std::string> logs;
  for (const auto& source : sources) {
    if (!fs::is_directory(source)) throw data_error("[replay] there is no folder '{}'; name a run folder or a folder of trajectory logs", source);
    const std::string queue = fs::is_directory(source + "/queue") ? source + "/queue" : source;
    bool found = false;
    for (const auto& entry : fs::directory_iterator(queue)) {
      if (!entry.is_directory() || !entry.path().filename().string().starts_with("rank-")) continue;
      logs.push_back(entry.path().string());
      found = true;
    }
    if (!found) logs.push_back(queue);
  }
  return logs;
}

int replay(const CLI::App& command, ConfigSources& sources, ReplayCommand& options) {
  // Positional arguments with '=' are settings; CLI11 gives them all to the list of sources.
  std::vector<std::string> folders;
  for (const auto& word : options.sources) (word.find('=') == std::string::npos ? folders : sources.assignments).push_back(word);
  for (const auto& assignment : assignments_of(command)) sources.assignments.push_back(assignment);
  if (folders.empty()) throw usage_error("[replay] name at least one run folder");
  if (sources.files.empty()) sources.files.push_back(folders.front() + "/config.yaml");
  const bool folder_named = std::any_of(sources.assignments.begin(), sources.assignments.end(), [](const auto& text) { return text.find("run.dir=") != std::string::npos; });
  if (!folder_named) sources.assignments.emplace_back("run.dir=");
  RunConfig config = load_config(sources);
  validate(config);
  StopSignals signals;
  std::vector<std::string> line{"nabla", "replay"};
  line.insert(line.end(), folders.begin(), folders.end());
  const RunFolder folder = create_run_folder(config, line);
  init_logging({.role = "replay", .run_folder = folder.path, .quiet = options.quiet, .json = options.json_logs});
  Console console(Console::detect({.quiet = options.quiet, .json = options.json_logs}));
  RunRecorder recorder(folder.path, console);
  const LearnerResult result = replay_logs({.config = config, .config_text = config_text_of(config), .logs = logs_of(folders), .run_dir = folder.path,
                                            .run_id = folder.run_id}, recorder, signals.token());
  recorder.finish(result);
  fmt::print("replayed {} updates; weights digest {}\n", result.summary.updates, result.summary.weights_digest);
  return 0;
}

}  // namespace

void add_replay_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("replay", "Train again from the saved trajectory queue of a run; its own weights must come out bit for bit");
  const auto sources = std::make_shared<ConfigSources>();
  const auto options = std::make_shared<ReplayCommand>();
  command->add_option("run", options->sources, "Run folders or log folders, and key=value settings")->required()->type_name("RUN|DIR|key=value");
  command->add_option("--config", sources->files, "YAML file (default RUN/config.yaml)")->type_name("FILE")->allow_extra_args(false);
  command->add_flag("--quiet", options->quiet, "Warnings and errors only");
  command->add_flag("--json-logs", options->json_logs, "Log lines as one JSON object a line");
  command->allow_extras();
  command->footer("Examples:\n  nabla replay runs/pocket/latest\n  nabla replay runs/pocket/latest run.dir=runs/replayed");
  command->callback([&invocation, command, sources, options] {
    invocation.run = [command, sources, options] { return replay(*command, *sources, *options); };
  });
}

}  // namespace nabla
