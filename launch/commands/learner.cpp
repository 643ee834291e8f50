#include "common/config/require.h"
#include "common/device/device.h"
#include "common/error.h"
#include "common/log.h"
#include "launch/command.h"
#include "launch/commands/config_options.h"
#include "launch/group/follow.h"
#include "launch/live/control_point.h"
#include "launch/live/learner_routes.h"
#include "launch/machine.h"
#include "launch/resume.h"
#include "launch/run_folder.h"
#include "launch/run_keys.h"
#include "launch/run_recorder.h"
#include "launch/signals.h"
#include "learner/learner.h"

#include <CLI/CLI.hpp>

#include <atomic>
#include <memory>
#include <utility>

namespace nabla {

namespace {

struct LearnerCommand {
  std::string run, checkpoint;
  ResumeOptions resume;
  RankOptions ranks;
  bool goes_on = false, insecure = false, quiet = false, json_logs = false;
};

// Of a folder that `nabla train` prepared, or of the command line.
RunConfig configuration(ConfigSources& sources, const LearnerCommand& options) {
  if (options.run.empty()) return config_to_run(sources, options.resume);
  if (!sources.files.empty() || !sources.assignments.empty()) throw usage_error("[learner] --run takes its configuration from the folder; leave out --config and key=value");
  return load_config({.files = {open_run_folder(options.run).file("config.yaml")}, .assignments = {}});
}

PreparedRun prepare(const RunConfig& config, const RankGroup& ranks, ConfigSources& sources, const LearnerCommand& options) {
  if (!options.run.empty()) return {open_run_folder(options.run), config, options.goes_on, options.checkpoint};
  ranks.add_to(sources);
  return prepare_run("learner", sources, options.resume, [&](const RunConfig& checked) {
    require_tickets_of_one_rank(checked);
    require_trust(checked, options.insecure);
    parse_device(checked.learner.device, "learner.device");
    if (!checked.security.keys.empty()) read_run_keys(checked);
  });
}

LearnerOptions learner_options(const PreparedRun& run, const LearnerCommand& options) {
  const auto& [folder, config, goes_on, checkpoint] = run;
  LearnerOptions learner{.config = config, .config_text = config_text_of(config), .run_dir = folder.path, .run_id = folder.run_id};
  learner.resume = goes_on;
  learner.checkpoint = checkpoint;
  learner.insecure = options.insecure;
  if (config.security.keys.empty()) {
    if (!is_loopback_bind(config.fleet.bind))
      log_warning("--insecure: everybody who reaches {} can take and deliver work, and nothing is encrypted", config.fleet.bind);
    return learner;
  }
  RunKeys keys = read_run_keys(config);
  learner.keys = std::move(keys.server);
  learner.actor_key_file = std::move(keys.actor_key_file);
  return learner;
}

int learn(const CLI::App& command, ConfigSources& sources, const LearnerCommand& options) {
  StopSignals signals;
  sources.assignments = assignments_of(command);
  RunConfig all_ranks = configuration(sources, options);
  RankGroup ranks(all_ranks, options.ranks);
  validate(all_ranks);
  require_tickets_of_one_rank(all_ranks);
  require_trust(all_ranks, options.insecure);
  if (ranks.rank() > 0) return follow_rank_0(all_ranks, ranks, signals.token(), options.json_logs ? LogStyle::kJson : LogStyle::kText);
  const PreparedRun run = prepare(all_ranks, ranks, sources, options);
  const auto& [folder, config, goes_on, checkpoint] = run;
  init_logging({.role = "learner", .run_folder = folder.path, .quiet = options.quiet, .json = options.json_logs});
  raise_open_file_limit();
  LearnerOptions learner = learner_options(run, options);
  Console console(Console::detect({.quiet = options.quiet, .json = options.json_logs}));
  RunRecorder recorder(folder.path, console);
  learner.checkpoint_wanted = std::make_shared<std::atomic<bool>>(false);
  auto routes = learner_routes([&recorder] { return recorder.live_status(); }, signals.source(), learner.checkpoint_wanted);
  const ControlService service(folder, "learner", std::move(routes), config.http.bind);
  learner.group = ranks.join(folder.file("logs"), signals.token());
  const LearnerResult result = run_learner(learner, recorder, signals.token());
  recorder.finish(result);
  return exit_after(signals, options.resume, result.summary.exit_reason == "stopped");
}

}  // namespace

void add_learner_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("learner", "Train from the trajectories that actors deliver; actors connect to the run folder or address");
  const auto sources = add_config_options(*command);
  const auto options = std::make_shared<LearnerCommand>();
  add_resume_options(*command, options->resume);
  command->add_flag("--goes-on", options->goes_on, "With --run: go on with the run in it, as `nabla train` asks");
  command->add_option("--checkpoint", options->checkpoint, "With --run and --goes-on: from this one instead of the newest")->type_name("CHECKPOINT");
  command->add_option("--run", options->run, "Run folder made by `nabla train`; default: make one from the configuration")->type_name("RUN");
  command->add_option("--rank", options->ranks.rank, "This process is one of learner.ranks ranks, started by hand (torchrun and srun say so themselves)")->type_name("R");
  command->add_option("--rendezvous", options->ranks.rendezvous, "With --rank: where rank 0 is to be found")->type_name("HOST:PORT");
  command->add_flag("--insecure", options->insecure, "Listen on an address that other machines can reach without asking anybody for a key");
  command->add_flag("--quiet", options->quiet, "Warnings and errors only");
  command->add_flag("--json-logs", options->json_logs, "Log lines as one JSON object a line");
  command->footer("Examples:\n  nabla learner --config configs/pocket.yaml run.dir=runs/by-hand\n"
                  "  nabla learner --config configs/pocket.yaml run.dir=runs/tcp fleet.bind=tcp://127.0.0.1:5555\n"
                  "  nabla learner --resume runs/by-hand\n"
                  "  nabla learner --config configs/pocket.yaml security.keys=KEYS fleet.bind=tcp://0.0.0.0:5555 fleet.weights_port=5556");
  command->callback([&invocation, command, sources, options] {
    invocation.run = [command, sources, options] { return learn(*command, *sources, *options); };
  });
}

}  // namespace nabla
