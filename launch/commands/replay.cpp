#include "common/error.h"
#include "common/log.h"
#include "launch/command.h"
#include "launch/commands/config_options.h"
#include "launch/commands/log_sources.h"
#include "launch/group/rank_group.h"
#include "launch/run_folder.h"
#include "launch/run_recorder.h"
#include "launch/signals.h"
#include "learner/learner.h"
#include "learner/no_report.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace nabla {

namespace {

struct ReplayCommand {
  std::vector<std::string> sources;   // run folders, or folders of trajectory logs
  double rate = 0;                    // records a second
  std::string from;                   // checkpoint
  RankOptions ranks;
  bool follow = false, quiet = false, json_logs = false;
};

// One of the other ranks: writes nothing to the run folder.
int replay_as_other_rank(ReplayOptions replay, RankGroup& ranks, const StopSignals& signals, const ReplayCommand& options) {
  init_logging({.role = "replay", .number = ranks.rank(), .quiet = options.quiet, .json = options.json_logs});
  replay.group = ranks.join("", signals.token());
  NoReport observer;
  const LearnerResult result = replay_logs(replay, observer, signals.token());
  if (result.error) std::rethrow_exception(result.error);
  return 0;
}

int replay(const CLI::App& command, ConfigSources& sources, ReplayCommand& options) {
  const auto [folders, settings] = split_words(options.sources);
  sources.assignments.insert(sources.assignments.end(), settings.begin(), settings.end());
  for (const auto& assignment : assignments_of(command)) sources.assignments.push_back(assignment);
  if (folders.empty()) throw usage_error("[replay] name at least one run folder");
  if (sources.files.empty()) sources.files.push_back(folders.front() + "/config.yaml");
  const bool folder_named = std::any_of(sources.assignments.begin(), sources.assignments.end(), [](const auto& text) { return text.find("run.dir=") != std::string::npos; });
  if (!folder_named) sources.assignments.emplace_back("run.dir=");
  RunConfig config = load_config(sources);
  StopSignals signals;
  RankGroup ranks(config, options.ranks);
  validate(config);
  if (config.learner.ranks > 1 && (options.follow || options.rate > 0))
    throw usage_error("[replay] --follow and --rate replay on one rank; learner.ranks is {}", config.learner.ranks);
  ReplayOptions replay{.config = config, .config_text = config_text_of(config), .logs = logs_of(folders, "replay"), .run_dir = {}, .run_id = "replay",
                       .parse_config = [](const std::string& yaml) { return parse_config_text(yaml, "the configuration in the log", {}); },
                       .records_per_s = options.rate, .follow = options.follow, .from = options.from};
  if (ranks.rank() > 0) return replay_as_other_rank(std::move(replay), ranks, signals, options);
  std::vector<std::string> line{"nabla", "replay"};
  line.insert(line.end(), folders.begin(), folders.end());
  const RunFolder folder = create_run_folder(config, line);
  replay.config = config;
  replay.run_dir = folder.path;
  replay.run_id = folder.run_id;
  init_logging({.role = "replay", .run_folder = folder.path, .quiet = options.quiet, .json = options.json_logs});
  Console console(Console::detect({.quiet = options.quiet, .json = options.json_logs}));
  RunRecorder recorder(folder.path, console);
  replay.group = ranks.join(folder.file("logs"), signals.token());
  const LearnerResult result = replay_logs(replay, recorder, signals.token());
  recorder.finish(result);
  fmt::print("replayed {} updates; weights digest {}\n", result.summary.updates, result.summary.weights_digest);
  return 0;
}

}  // namespace

void add_replay_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("replay", "Train again from a saved trajectory queue: a run's own weights must come out bit for bit; other configurations may train on its states");
  const auto sources = std::make_shared<ConfigSources>();
  const auto options = std::make_shared<ReplayCommand>();
  command->add_option("run", options->sources, "Run folders or log folders, and key=value settings")->required()->type_name("RUN|DIR|key=value");
  command->add_option("--config", sources->files, "YAML file (default RUN/config.yaml)")->type_name("FILE")->allow_extra_args(false);
  command->add_option("--rate", options->rate, "Records a second at most, of a run's own log (default: as fast as it goes)")->check(CLI::PositiveNumber)->type_name("N");
  command->add_option("--from", options->from, "Checkpoint of the run, RUN/checkpoints/update-NNNNNN: its updates are not trained again")->type_name("CHECKPOINT");
  command->add_option("--rank", options->ranks.rank, "This process is one of learner.ranks ranks, started by hand (torchrun and srun say so themselves)")->type_name("R");
  command->add_option("--rendezvous", options->ranks.rendezvous, "With --rank: where rank 0 is to be found")->type_name("HOST:PORT");
  command->add_flag("--follow", options->follow, "Replay a run that goes on, as its log grows, until it is closed");
  command->add_flag("--quiet", options->quiet, "Warnings and errors only");
  command->add_flag("--json-logs", options->json_logs, "Log lines as one JSON object a line");
  command->allow_extras();
  command->footer("Examples:\n  nabla replay runs/pocket/latest\n  nabla replay runs/pocket/latest run.dir=runs/replayed\n"
                  "  nabla replay runs/pocket/latest --from runs/pocket/latest/checkpoints/update-000100\n"
                  "  nabla replay runs/pocket/latest learner.ranks=2      # two processes that share each update's slots\n"
                  "  nabla replay runs/pocket/latest --follow --rate 2    # beside a run that goes on\n"
                  "  nabla replay relabelled run.dir=runs/from-old        # what nabla relabel wrote");
  command->callback([&invocation, command, sources, options] {
    invocation.run = [command, sources, options] { return replay(*command, *sources, *options); };
  });
}

}  // namespace nabla
