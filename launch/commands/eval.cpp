#include "common/config/fields.h"
#include "common/error.h"
#include "common/files.h"
#include "common/log.h"
#include "common/nearest.h"
#include "launch/command.h"
#include "launch/evaluation/run_comparison.h"
#include "launch/official_keys.h"

#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

namespace nabla {

namespace {

struct EvalCommand {
  std::vector<std::string> words;  // RUN, LABEL=RUN and key=value
  ComparisonOptions options;
  std::string out, plot;
  int threads = 1;
};

// Paths and aliases of all settings.
std::vector<std::string> setting_names() {
  RunConfig config;
  std::vector<std::string> names;
  for (const auto& field : fields_of(config)) {
    names.push_back(field.path);
    names.insert(names.end(), field.aliases.begin(), field.aliases.end());
  }
  return names;
}

void require_folder(const std::string& word, const std::string& key, const std::string& path, const std::vector<std::string>& settings) {
  if (names_run(path)) return;
  throw usage_error("[eval] '{}': there is no folder '{}' of a run, and no setting '{}'; did you mean '{}'?", word, path, key, nearest(key, settings));
}

// A word with '=' is a setting where the part before it is the name of one, else LABEL=RUN.
std::vector<JudgedRun> runs_of(const EvalCommand& command) {
  const std::vector<std::string> settings = setting_names();
  std::vector<std::pair<std::string, std::string>> named;
  std::vector<std::string> overrides;
  for (const auto& word : command.words) {
    if (word.find('=') == std::string::npos) {
      const std::string name = std::filesystem::path(word).filename().string();
      named.emplace_back(name.empty() ? word : name, word);
      continue;
    }
    const auto [before, behind] = split_assignment(word);
    const std::string key(before), path(behind);
    if (std::find(settings.begin(), settings.end(), key) != settings.end() || find_official_only_key(key) != nullptr) {
      overrides.push_back(word);
      continue;
    }
    require_folder(word, key, path, settings);
    named.emplace_back(key, path);
  }
  if (named.empty()) throw usage_error("[eval] name at least one run folder");
  std::vector<JudgedRun> runs;
  for (const auto& [label, path] : named) runs.push_back(open_judged_run(label, path, overrides));
  return runs;
}

int evaluate(const EvalCommand& command) {
  if (command.threads < 1) throw usage_error("[eval] --threads is {}; at least 1 is needed", command.threads);
  if (command.options.noises < 2) throw usage_error("[eval] --noises is {}; at least 2 pictures a prompt are needed for diversity and distances", command.options.noises);
  if (command.options.batch < 1) throw usage_error("[eval] --batch is {}; at least 1 is needed", command.options.batch);
  init_logging({.role = "eval"});
  at::set_num_threads(command.threads);
  const nlohmann::ordered_json comparison = compare_runs(runs_of(command), command.options);
  const std::string text = comparison.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  if (!command.plot.empty()) write_file(command.plot, pareto_plot(comparison));
  if (!command.out.empty()) write_file(command.out, text);
  std::fputs(command.out.empty() ? text.c_str() : comparison_table(comparison).c_str(), stdout);
  return 0;
}

}  // namespace

void add_eval_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("eval", "Judge weights of runs on the same prompts and noise: reward, true reward, diversity, distance to the base");
  const auto chosen = std::make_shared<EvalCommand>();
  command->add_option("run", chosen->words, "Run folders, each with @VERSION or without, LABEL=RUN (runs of one label are one series of the plot), and key=value settings "
                                             "for all of them")
      ->required()
      ->type_name("RUN[@VERSION]|LABEL=RUN[@VERSION]|key=value");
  command->add_option("--prompts", chosen->options.prompt_file, "Prompts, one a line (default: the runs' evaluation prompts)")->type_name("FILE");
  command->add_option("--noises", chosen->options.noises, "Pictures a prompt")->capture_default_str();
  command->add_option("--batch", chosen->options.batch, "Pictures sampled at once")->capture_default_str();
  command->add_option("--out", chosen->out, "Write the JSON there and print a table instead")->type_name("FILE");
  command->add_option("--plot", chosen->plot, "Write a plot of the gains of reward and true reward against diversity and distance")->type_name("FILE.svg");
  command->add_option("--threads", chosen->threads, "Threads")->capture_default_str();
  command->footer(
      "Without @VERSION the last version of a run is judged, of one that goes on its newest. A run that goes on is asked for the weights of the version and\n"
      "for nothing else: it trains on. A version that it no longer holds, or that a finished run did not export, is trained again from the run's log.\n"
      "Examples:\n  nabla eval runs/pocket/latest\n  nabla eval runs/pocket/latest@40 runs/pocket/latest\n"
      "  nabla eval residual=runs/a residual=runs/b no-flow=runs/c --noises 16 --out eval.json --plot pareto.svg");
  command->callback([&invocation, chosen] { invocation.run = [chosen] { return evaluate(*chosen); }; });
}

}  // namespace nabla
