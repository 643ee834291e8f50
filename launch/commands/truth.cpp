#include "common/digest.h"
#include "common/error.h"
#include "common/files.h"
#include "common/json_file.h"
#include "common/log.h"
#include "launch/command.h"
#include "launch/truth/markdown_table.h"
#include "launch/truth/pictures.h"
#include "launch/truth/table_run.h"

#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>

namespace nabla {

namespace {

struct TruthCommand {
  truth::TableRun table;
  std::string pictures;  // folder; empty: none
  std::string markdown;  // a result; empty: none
  int threads = 1;
};

// Results of another build are not kept: the program's own bytes stand in their names.
std::string build_name() {
  constexpr std::size_t kMostBytes = std::size_t{1} << 30;
  return Digest().update(read_file("/proc/self/exe", kMostBytes)).hex();
}

void print_table(const std::string& path) {
  const nlohmann::ordered_json result = read_json(path);
  try {
    std::fputs((truth::markdown_table(result) + "\n" + truth::coverage_text(result)).c_str(), stdout);
  } catch (const nlohmann::json::exception& error) {
    throw data_error("[truth] {} is no result of this command: {}", path, error.what());
  }
}

int run_truth(TruthCommand command) {
  if (command.threads < 1) throw usage_error("[truth] --threads is {}; at least 1 is needed", command.threads);
  const std::size_t num_seeds = command.table.seeds.size();
  if ((command.table.quick || !command.pictures.empty()) && num_seeds > 1)
    throw usage_error("[truth] --seeds names {} seeds; --quick and --pictures take one", num_seeds);
  init_logging({.role = "truth"});
  at::set_num_threads(command.threads);
  if (!command.pictures.empty()) {
    truth::draw_pictures(command.pictures, command.table.seeds.empty() ? 1 : command.table.seeds.front());
    return 0;
  }
  if (!command.markdown.empty()) {
    print_table(command.markdown);
    return 0;
  }
  command.table.build = build_name();
  const nlohmann::ordered_json result = truth::run_table(command.table);
  std::puts(result.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  for (const auto& entry : result.at("cases"))
    if (!entry.at("pass").get<bool>()) return 1;
  return 0;
}

}  // namespace

void add_truth_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("truth", "Prove the objective: train on problems whose answer is known, and fail where it is missed");
  const auto chosen = std::make_shared<TruthCommand>();
  truth::TableRun& table = chosen->table;
  auto* tiers = command->add_option("--tier", table.tiers, "Tiers, comma-separated: T0 ... T8, TM (default: all)")->delimiter(',')->type_name("NAMES");
  auto* cases = command->add_option("--case", table.case_files, "A problem of your own, a YAML file (docs/truth.md); may be given several times")
                    ->type_name("FILE")
                    ->allow_extra_args(false);
  auto* seeds = command->add_option("--seeds", table.seeds, "Seeds, comma-separated (default: 1,2,3; of a case its own)")
                    ->delimiter(',')
                    ->type_name("LIST");
  auto* out = command->add_option("--out", table.out, "Final states and results, a safetensors file; trials that it holds are not run again")
                  ->type_name("FILE");
  auto* quick = command->add_flag("--quick", table.quick, "The subset that every build runs: T0, T7, T8, and T1 with one control, at one seed");
  auto* pictures =
      command->add_option("--pictures", chosen->pictures, "Instead: draw the pictures of docs/truth.md into a folder")->type_name("DIR");
  auto* markdown =
      command->add_option("--markdown", chosen->markdown, "Instead: print a result of this command as a table of Markdown")->type_name("FILE");
  quick->excludes(tiers);
  pictures->excludes(tiers, cases, out, quick);
  markdown->excludes(tiers, cases, seeds, out, quick, pictures);
  command->add_option("--threads", chosen->threads, "Threads")->capture_default_str();
  command->footer(
      "Prints {\"cases\": [...]} and a table on standard error; exit 0 when every case passes and every control fails, else 1.\n"
      "Examples:\n  nabla truth --tier T0,T1 --seeds 1,2,3\n  nabla truth --out truth.safetensors > truth.json\n"
      "  nabla truth --case two-modes.yaml --out samples.safetensors");
  command->callback([&invocation, chosen] { invocation.run = [chosen] { return run_truth(*chosen); }; });
}

}  // namespace nabla
