#include "actors/actor.h"
#include "common/error.h"
#include "common/log.h"
#include "launch/command.h"
#include "launch/commands/config_options.h"
#include "launch/live/actor_service.h"
#include "launch/signals.h"
#include "protocol/keys.h"

#include <CLI/CLI.hpp>

#include <memory>

namespace nabla {

namespace {

struct ActorCommand {
  std::string connect, id, key_file;
  int number = 0;
  std::int64_t patience_s = 60;
  bool json_logs = false, quiet = false;
};

int run_actor_role(const CLI::App& command, const ActorCommand& options) {
  const std::vector<std::string> overrides = assignments_of(command);
  StopSignals signals(SecondSignal::kHurries);
  init_logging({.role = "actor", .number = options.number, .quiet = options.quiet, .json = options.json_logs});
  ActorOptions actor;
  actor.connect = options.connect;
  actor.actor_id = options.id;
  if (!options.key_file.empty()) actor.keys = read_actor_keys(options.key_file);
  actor.patience = std::chrono::seconds(options.patience_s);
  ActorService service;
  actor.on_progress = [&service](const Heartbeat& heartbeat) { service.update(heartbeat); };
  actor.parse_config = [&overrides, &service](const std::string& yaml) {
    RunConfig config = parse_config_text(yaml, "the run's configuration", overrides);
    validate(config);
    service.serve_at(config.http.actor_bind);
    return config;
  };
  actor.leave = signals.token();
  run_actor(actor, signals.hurry_token());
  return 0;
}

}  // namespace

void add_actor_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("actor", "Work on the tickets of a run: sample trajectories with reward gradients and deliver them");
  const auto options = std::make_shared<ActorCommand>();
  command->add_option("--connect", options->connect, "Run folder (waits for its learner) or address tcp://host:port")->required()->type_name("RUN|ADDRESS");
  command->add_option("--id", options->id, "Name of this actor, unique in the run (default: host and process id)");
  command->add_option("--key", options->key_file, "Key file that `nabla keys new ... actor NAME` made on the learner's machine (with a run folder: found there)")->type_name("FILE");
  command->add_option("--patience", options->patience_s, "Seconds to wait for the run folder's learner, and for a learner that went away (default 60)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1'000'000}))
      ->type_name("SECONDS");
  command->add_option("--number", options->number, "Number in log lines (default 0)");
  command->add_flag("--quiet", options->quiet, "Warnings and errors only");
  command->add_flag("--json-logs", options->json_logs, "One JSON object a line");
  command->allow_extras();
  command->footer("The first Ctrl-C or SIGTERM lets it finish its ticket, a Ctrl-C after that gives the ticket back, another one ends the process.\n"
                  "The run's configuration comes from the learner; key=value overrides it here (pretrained.model, actors.threads, ...).\n"
                  "Examples:\n  nabla actor --connect runs/pocket/latest\n  nabla actor --connect tcp://127.0.0.1:5555 pretrained.model=/models/sd15\n"
                  "  nabla actor --connect tcp://learner.example:5555 --key gpu-1.key");
  command->callback([&invocation, command, options] { invocation.run = [command, options] { return run_actor_role(*command, *options); }; });
}

}  // namespace nabla
