#include "common/error.h"
#include "common/json_file.h"
#include "common/log.h"
#include "launch/command.h"
#include "launch/commands/config_options.h"
#include "launch/run_folder.h"
#include "launch/signals.h"
#include "launch/supervisor.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <memory>

namespace nabla {

namespace {

struct TrainCommand {
  bool insecure = false, quiet = false, json_logs = false;
};

// Threads are explicit for every role, and OpenMP waits passively: active waiting on shared cores stalls everybody.
std::vector<std::pair<std::string, std::string>> thread_environment(std::int64_t threads) {
  return {{"OMP_NUM_THREADS", std::to_string(threads)}, {"MKL_NUM_THREADS", std::to_string(threads)}, {"OMP_WAIT_POLICY", "PASSIVE"}};
}

void add_flags(std::vector<std::string>& arguments, const TrainCommand& options) {
  if (options.quiet) arguments.emplace_back("--quiet");
  if (options.json_logs) arguments.emplace_back("--json-logs");
}

FleetCommands fleet_commands(const RunConfig& config, const RunFolder& folder, const TrainCommand& options) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  FleetCommands fleet;
  fleet.learner = {.arguments = {program, "learner", "--run", folder.path}, .environment = thread_environment(config.learner.threads), .output_file = {}};
  add_flags(fleet.learner.arguments, options);
  if (options.insecure) fleet.learner.arguments.emplace_back("--insecure");
  for (std::int64_t i = 0; i < config.actors.count; ++i) {
    ChildCommand actor{.arguments = {program, "actor", "--connect", folder.path, "--id", fmt::format("actor-{}", i), "--number", std::to_string(i)},
                       .environment = thread_environment(config.actors.threads),
                       .output_file = folder.file(fmt::format("logs/actor-{}.log", i))};
    if (options.json_logs) actor.arguments.emplace_back("--json-logs");
    fleet.actors.push_back(std::move(actor));
  }
  return fleet;
}

// To the learner, a fleet without actors looks like any other stop; the summary gets the cause.
void record_cause(const RunFolder& folder, const std::string& why) {
  const std::string file = folder.file("summary.json");
  if (!std::filesystem::exists(file)) return;
  nlohmann::ordered_json summary = read_json(file);
  summary["exit_reason"] = "failed: no actor could work: " + why;
  write_json(file, summary);
}

int train(const CLI::App& command, ConfigSources& sources, const TrainCommand& options) {
  sources.assignments = assignments_of(command);
  RunConfig config = load_config(sources);
  validate(config);
  require_trust(config, options.insecure);
  StopSignals signals;
  std::vector<std::string> line{"nabla", "train"};
  for (const auto& file : sources.files) line.insert(line.end(), {"--config", file});
  line.insert(line.end(), sources.assignments.begin(), sources.assignments.end());
  const RunFolder folder = create_run_folder(config, line);
  init_logging({.role = "train", .run_folder = folder.path, .quiet = options.quiet, .json = options.json_logs});
  const FleetOutcome outcome = supervise(fleet_commands(config, folder, options), signals.token());
  if (outcome.actor_restarts > 0) log_warning("actors were started again {} times", outcome.actor_restarts);
  if (!outcome.gave_up.empty()) record_cause(folder, outcome.gave_up);
  return outcome.learner_exit;
}

}  // namespace

void add_train_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("train", "Fine-tune: start and supervise one learner and its actors on this machine");
  const auto sources = add_config_options(*command);
  const auto options = std::make_shared<TrainCommand>();
  command->add_flag("--insecure", options->insecure, "Listen on an address that other machines can reach without asking anybody for a key");
  command->add_flag("--quiet", options->quiet, "Warnings and errors only");
  command->add_flag("--json-logs", options->json_logs, "Log lines as one JSON object a line");
  command->footer("Ctrl-C stops the whole fleet cleanly and leaves a usable run folder; a second one ends it at once.\n"
                  "Examples:\n  nabla train --config configs/pocket.yaml\n  nabla train --config configs/pocket.yaml seed=2 actors.count=4 run.dir=runs/second");
  command->callback([&invocation, command, sources, options] {
    invocation.run = [command, sources, options] { return train(*command, *sources, *options); };
  });
}

}  // namespace nabla
