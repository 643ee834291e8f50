#include "common/device/device.h"
#include "common/error.h"
#include "common/json_file.h"
#include "common/log.h"
#include "launch/command.h"
#include "launch/commands/config_options.h"
#include "launch/group/follow.h"
#include "launch/live/actor_service.h"
#include "launch/live/control_point.h"
#include "launch/live/fleet_routes.h"
#include "launch/resume.h"
#include "launch/run_keys.h"
#include "launch/signals.h"
#include "launch/supervisor.h"
#include "protocol/keys.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <filesystem>
#include <memory>

namespace nabla {

namespace {

// An actor that leaves ends by itself once its ticket has taken fleet.ticket_timeout.
constexpr double kLeaveMargin_s = 5.0;
constexpr std::int64_t kActorPatience_s = 3600;  // a large model takes its learner minutes to load; without this process there are no actors either

struct TrainCommand {
  ResumeOptions resume;
  bool insecure = false, quiet = false, json_logs = false;
};

// Threads are explicit for every role, and OpenMP waits passively: active waiting on shared cores stalls everybody.
std::vector<std::pair<std::string, std::string>> thread_environment(std::int64_t threads) {
  return {{"OMP_NUM_THREADS", std::to_string(threads)}, {"MKL_NUM_THREADS", std::to_string(threads)}, {"OMP_WAIT_POLICY", "PASSIVE"},
          {"CUBLAS_WORKSPACE_CONFIG", ":4096:8"}};  // cuBLAS repeats itself with one workspace a stream alone
}

void add_flags(std::vector<std::string>& arguments, const TrainCommand& options) {
  if (options.quiet) arguments.emplace_back("--quiet");
  if (options.json_logs) arguments.emplace_back("--json-logs");
}

ChildCommand learner_command(const std::string& program, const PreparedRun& run, const TrainCommand& options) {
  ChildCommand learner{.arguments = {program, "learner", "--run", run.folder.path}, .environment = thread_environment(run.config.learner.threads), .output_file = {}};
  add_flags(learner.arguments, options);
  if (options.insecure) learner.arguments.emplace_back("--insecure");
  if (run.goes_on) learner.arguments.emplace_back("--goes-on");
  if (!run.checkpoint.empty()) learner.arguments.insert(learner.arguments.end(), {"--checkpoint", run.checkpoint});
  return learner;
}

// Of a learner that may just have been killed while it wrote.
std::int64_t updates_in(const RunFolder& folder) {
  const std::string file = folder.file("status.json");
  return std::filesystem::exists(file) ? read_json(file).value("update", std::int64_t{0}) : 0;
}

// Refused here, nothing has been started and no folder made.
void require_devices(const RunConfig& config) {
  parse_device(config.learner.device, "learner.device");
  if (config.actors.count > 0) parse_device(config.actors.device, "actors.device");
}

FleetCommands fleet_commands(const PreparedRun& run, const TrainCommand& options, const StopSignals& signals) {
  const RunFolder& folder = run.folder;
  const RunConfig& config = run.config;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  FleetCommands fleet;
  fleet.learner = learner_command(program, run, options);
  fleet.learner_again = learner_command(program, {folder, config, true, ""}, options);
  fleet.max_learner_restarts = config.learner.max_restarts;
  fleet.updates_done = [folder] { return updates_in(folder); };
  fleet.stop_signal = [&signals, &options] { return wants_requeue(signals, options.resume) ? SIGUSR1 : SIGTERM; };
  fleet.num_actors = config.actors.count;
  fleet.actor = [program, folder, config, environment = thread_environment(config.actors.threads), json = options.json_logs,
                 bind = config.http.actor_bind](std::int64_t number) {
    ChildCommand actor{.arguments = {program, "actor", "--connect", folder.path, "--id", fmt::format("actor-{}", number), "--number",
                                     std::to_string(number), "--patience", std::to_string(kActorPatience_s)},
                       .environment = environment,
                       .output_file = folder.file(fmt::format("logs/actor-{}.log", number))};
    if (json) actor.arguments.emplace_back("--json-logs");
    if (const std::string own = address_of_actor(bind, number); own != bind) actor.arguments.push_back(fmt::format("http.actor_bind={}", own));
    if (const std::string device = device_in_turn(config.actors.device, number); device != config.actors.device)
      actor.arguments.push_back("actors.device=" + device);
    return actor;
  };
  fleet.leave_s = config.fleet.ticket_timeout_s + kLeaveMargin_s;
  return fleet;
}

// Those of the learner and of the actors that start here.
void require_keys(const RunConfig& config) {
  if (config.security.keys.empty()) return;
  const RunKeys keys = read_run_keys(config);
  if (config.actors.count > 0) read_actor_keys(keys.actor_key_file);
}

void require_actor_addresses(const RunConfig& config) {
  const std::int64_t most = most_actors_at(config.http.actor_bind);
  if (config.actors.count > most) {
    throw usage_error(
        "[train] actor N of this machine serves its metrics at the port of http.actor_bind + N; from {} on there are ports for {} actors, "
        "and actors.count is {}; choose a lower port, or 0 for any free one",
        config.http.actor_bind, most, config.actors.count);
  }
  if (config.http.bind.empty() || config.http.bind.ends_with(":0")) return;
  for (std::int64_t number = 0; number < config.actors.count; ++number) {
    if (address_of_actor(config.http.actor_bind, number) != config.http.bind) continue;
    throw usage_error("[train] http.bind {} is where actor {} would serve its metrics (http.actor_bind {} + {}); choose another port",
                      config.http.bind, number, config.http.actor_bind, number);
  }
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
  StopSignals signals;
  RunConfig all_ranks = config_to_run(sources, options.resume);
  RankGroup ranks(all_ranks, {});
  // With torchrun or srun: rank 0 runs the fleet, and its learner meets the others.
  if (ranks.rank() > 0) {
    validate(all_ranks);
    require_tickets_of_one_rank(all_ranks);
    return follow_rank_0(all_ranks, ranks, signals.token(), options.json_logs ? LogStyle::kJson : LogStyle::kText);
  }
  ranks.add_to(sources);
  const PreparedRun run = prepare_run("train", sources, options.resume, [&](const RunConfig& config) {
    require_tickets_of_one_rank(config);
    require_trust(config, options.insecure);
    require_keys(config);
    require_actor_addresses(config);
    require_devices(config);
  });
  const RunFolder& folder = run.folder;
  init_logging({.role = "train", .run_folder = folder.path, .quiet = options.quiet, .json = options.json_logs});
  FleetControl control;
  const ControlService service(folder, "train", fleet_routes(control, signals.source(), most_actors_at(run.config.http.actor_bind)));
  const FleetOutcome outcome = supervise(fleet_commands(run, options, signals), control, signals.token());
  if (outcome.learner_restarts > 0) log_warning("the learner was started again {} times", outcome.learner_restarts);
  if (outcome.actor_restarts > 0) log_warning("actors were started again {} times", outcome.actor_restarts);
  if (!outcome.gave_up.empty()) record_cause(folder, outcome.gave_up);
  return outcome.learner_exit;
}

}  // namespace

void add_train_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("train", "Fine-tune: start and supervise one learner and its actors on this machine");
  const auto sources = add_config_options(*command);
  const auto options = std::make_shared<TrainCommand>();
  add_resume_options(*command, options->resume);
  command->add_flag("--insecure", options->insecure, "Listen on an address that other machines can reach without asking anybody for a key");
  command->add_flag("--quiet", options->quiet, "Warnings and errors only");
  command->add_flag("--json-logs", options->json_logs, "Log lines as one JSON object a line");
  command->footer("Ctrl-C or `nabla stop` stops the whole fleet cleanly and leaves a usable run folder; a second Ctrl-C ends it at once.\n"
                  "A stop ends with a checkpoint; SIGUSR1 (and with --requeue any stop by a signal) ends with exit code 75, so that a scheduler starts it again.\n"
                  "`nabla status` shows how it stands, `nabla scale N` changes the number of actors.\n"
                  "Examples:\n  nabla train --config configs/pocket.yaml\n  nabla train --config configs/pocket.yaml seed=2 actors.count=4 run.dir=runs/second\n"
                  "  nabla train --config configs/pocket.yaml run.dir=runs/long --resume auto --requeue    # starts, or goes on\n"
                  "  nabla train --resume runs/second training.updates=400");
  command->callback([&invocation, command, sources, options] {
    invocation.run = [command, sources, options] { return train(*command, *sources, *options); };
  });
}

}  // namespace nabla
