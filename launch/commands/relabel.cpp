#include "common/error.h"
#include "common/log.h"
#include "launch/command.h"
#include "launch/commands/config_options.h"
#include "launch/commands/log_sources.h"
#include "launch/relabel_log.h"
#include "launch/signals.h"

#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

namespace nabla {

namespace {

struct RelabelCommand {
  std::vector<std::string> words;  // the log, and key=value settings
  std::string out, weights;
  bool quiet = false;
};

int relabel(const CLI::App& command, ConfigSources& sources, const RelabelCommand& chosen) {
  const FoldersAndSettings words = split_words(chosen.words);
  if (words.folders.size() != 1) throw usage_error("[relabel] {} folders were named; name one run or one log", words.folders.size());
  sources.assignments = words.assignments;
  for (const auto& assignment : assignments_of(command)) sources.assignments.push_back(assignment);
  if (sources.files.empty()) sources.files.push_back(words.folders.front() + "/config.yaml");
  RelabelOptions options{.config = load_config(sources), .log = {}, .out = chosen.out, .weights = chosen.weights};
  validate(options.config);
  const auto logs = logs_of(words.folders, "relabel");
  if (logs.size() != 1)
    throw usage_error("[relabel] '{}' holds the logs of {} ranks; name one of them", words.folders.front(), logs.size());
  options.log = logs.front();
  StopSignals signals;
  init_logging({.role = "relabel", .quiet = chosen.quiet});
  at::set_num_threads(static_cast<int>(options.config.actors.threads));
  const RelabelReport report = relabel_log(options, signals.token());
  fmt::print("relabelled {} trajectories with weights {} into {}\n", report.trajectories, report.weights_digest, options.out);
  return 0;
}

}  // namespace

void add_relabel_command(CLI::App& app, Invocation& invocation) {
  auto* command =
      app.add_subcommand("relabel", "Recompute a saved log's tensors with named weights, so that another configuration can replay it");
  const auto sources = std::make_shared<ConfigSources>();
  const auto chosen = std::make_shared<RelabelCommand>();
  command->add_option("log", chosen->words, "Run folder or log folder, and key=value settings")->required()->type_name("RUN|DIR|key=value");
  command->add_option("--config", sources->files, "Configuration that is to train on it (default RUN/config.yaml)")
      ->type_name("FILE|PRESET")
      ->allow_extra_args(false);
  command->add_option("--out", chosen->out, "Folder to write; must not exist")->required()->type_name("DIR");
  command
      ->add_option("--weights", chosen->weights,
                   "Weights to compute with: a LoRA file, a run's last ones or those of a version (default: the base model)")
      ->type_name("LORA|RUN[@VERSION]");
  command->add_flag("--quiet", chosen->quiet, "Warnings and errors only");
  command->allow_extras();
  command->footer(
      "The new log has the trajectories of the old one; rewards, gradients, reverse scores and predictions are made anew by the "
      "configuration's base model,\n"
      "guidance and reward. It appears under its name when it is whole; until then it is DIR.partial.\n"
      "Examples:\n  nabla relabel runs/pocket/latest experiment.reward_fn=lantern --out relabelled && nabla replay relabelled "
      "run.dir=runs/lantern\n"
      "  nabla relabel runs/old --config runs/new/config.yaml --weights runs/new@20 --out relabelled");
  command->callback([&invocation, command, sources, chosen] {
    invocation.run = [command, sources, chosen] { return relabel(*command, *sources, *chosen); };
  });
}

}  // namespace nabla
