#include "common/error.h"
#include "common/pause.h"
#include "launch/command.h"
#include "launch/live/find_run.h"
#include "launch/live/run_state.h"
#include "launch/live/status_text.h"
#include "launch/signals.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>

namespace nabla {

namespace {

struct StatusCommand {
  std::string run;
  bool json = false;
  double watch_s = 0;
};

std::string state_name(RunLife life) {
  switch (life) {
    case RunLife::kLive:
      return "live";
    case RunLife::kStarting:
      return "starting";
    case RunLife::kEnded:
      return "ended";
    case RunLife::kDead:
      return "dead";
  }
  return "unknown";
}

std::string json_text(const RunState& state, const std::string& run) {
  nlohmann::ordered_json json{{"run", run}, {"life", state_name(state.life)}};
  if (!state.text.empty()) json["text"] = state.text;
  if (!state.status.is_null()) json["status"] = state.status;
  if (state.life == RunLife::kLive) json["fleet"] = state.fleet;
  if (!state.summary.is_null()) json["summary"] = state.summary;
  return json.dump(2) + "\n";
}

std::string text_of(const RunState& state, const std::string& run) {
  if (state.life == RunLife::kLive) return status_text(state.status, state.fleet);
  if (state.life != RunLife::kEnded) return fmt::format("{}: {}\n", run, state.text);
  const auto& summary = state.summary;
  return fmt::format("{}: {} after {} updates, {} trajectories, {:.1f} s; ledger residual {}; weights {}\n  nabla inspect {} says more\n",
                     run, summary.at("exit_reason").get<std::string>(), summary.at("updates").get<std::int64_t>(),
                     summary.at("trajectories").get<std::int64_t>(), summary.at("wall_s").get<double>(),
                     summary.at("ledger").at("residual").get<std::int64_t>(), summary.at("weights_digest").get<std::string>(), run);
}

// Prints how the run stands now.
RunLife show(const StatusCommand& command, const std::string& run) {
  try {
    const RunState state = look_at_run(run);
    std::fputs((command.json ? json_text(state, run) : text_of(state, run)).c_str(), stdout);
    std::fflush(stdout);
    return state.life;
  } catch (const nlohmann::json::exception& error) {
    throw data_error("[status] the run in '{}' says something that this version does not understand: {}", run, error.what());
  }
}

int status(const StatusCommand& command) {
  StopSignals signals;
  const std::string run = find_run(command.run);
  const bool clears = command.watch_s > 0 && !command.json && isatty(STDOUT_FILENO) != 0;
  RunLife life = RunLife::kLive;
  while (true) {
    if (clears) std::fputs("\033[H\033[2J", stdout);
    life = show(command, run);
    const bool over = life == RunLife::kEnded || life == RunLife::kDead;
    if (command.watch_s <= 0 || over || signals.token().stop_requested()) break;
    pause_until(std::chrono::steady_clock::now() + std::chrono::milliseconds(static_cast<std::int64_t>(1000 * command.watch_s)),
                signals.token());
    if (signals.token().stop_requested()) break;
  }
  return static_cast<int>(life == RunLife::kDead ? ExitCode::kNetwork : ExitCode::kOk);
}

}  // namespace

void add_status_command(CLI::App& app, Invocation& invocation) {
  auto* command =
      app.add_subcommand("status", "Show how a run stands: its actors, tickets, rates and ledger while it is alive, its end afterwards");
  const auto chosen = std::make_shared<StatusCommand>();
  command->add_option("run", chosen->run, "Run folder (default: the run under runs/ that is alive, else the newest)")->type_name("RUN");
  command->add_flag("--json", chosen->json, "Print JSON");
  command->add_option("--watch", chosen->watch_s, "Show it again every S seconds until the run ends")
      ->check(CLI::PositiveNumber)
      ->type_name("S");
  command->footer(
      "Exit code 0 while the run is alive and after it ended, 4 when its learner is gone without a word.\n"
      "Examples:\n  nabla status\n  nabla status runs/pocket/latest --watch 2\n  nabla status runs/pocket/latest --json");
  command->callback([&invocation, chosen] { invocation.run = [chosen] { return status(*chosen); }; });
}

}  // namespace nabla
