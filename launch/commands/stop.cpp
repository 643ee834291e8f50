#include "common/error.h"
#include "common/json_file.h"
#include "common/pause.h"
#include "launch/command.h"
#include "launch/live/control_point.h"
#include "launch/live/find_run.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <memory>

namespace nabla {

namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kStopDeadline{5000}, kLookAgain{100};

struct StopCommand {
  std::string run;
  double wait_s = 120;
};

// Who ends the whole run: its supervisor, else a learner that was started by hand.
ControlPoint head_of(const std::string& run) {
  for (const char* role : {"train", "learner"}) {
    const auto point = read_control_point(run, role);
    if (point && may_be_alive(*point)) return *point;
  }
  if (std::filesystem::exists(run + "/summary.json")) throw usage_error("[stop] the run in '{}' has ended already", run);
  throw network_error("[stop] no process of the run in '{}' is alive", run);
}

// False if it is still there after the time.
bool wait_for_end(const std::string& run, const ControlPoint& head, double seconds) {
  const auto deadline = steady_clock::now() + std::chrono::milliseconds(static_cast<std::int64_t>(1000 * seconds));
  while (read_control_point(run, head.role) && may_be_alive(head)) {
    if (steady_clock::now() >= deadline) return false;
    pause_until(steady_clock::now() + kLookAgain, {});
  }
  return true;
}

int stop(const StopCommand& command) {
  const std::string run = find_live_run(command.run);
  const ControlPoint head = head_of(run);
  const HttpResponse answer = call(head, "POST", "/stop", kStopDeadline);
  if (answer.status != 200) throw failure("[stop] the {} says: {}", head.role, answer.body.substr(0, answer.body.find('\n')));
  if (command.wait_s <= 0) {
    fmt::print("{}: asked to stop\n", run);
    return 0;
  }
  if (!wait_for_end(run, head, command.wait_s))
    throw network_error("[stop] the run in '{}' was asked to stop, but process {} is still there after {:.0f} s", run, head.pid,
                        command.wait_s);
  const std::string file = run + "/summary.json";
  if (!std::filesystem::exists(file)) throw failure("[stop] the run in '{}' ended without a summary; look into its logs/", run);
  const auto summary = read_json(file);
  fmt::print("{}: {} after {} updates; weights {}\n", run, summary.value("exit_reason", "?"), summary.value("updates", std::int64_t{0}),
             summary.value("weights_digest", "?"));
  return 0;
}

}  // namespace

void add_stop_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("stop", "Stop a live run cleanly, as Ctrl-C does, and wait until it has ended");
  const auto chosen = std::make_shared<StopCommand>();
  command->add_option("run", chosen->run, "Run folder (default: the one run under runs/ that is alive)")->type_name("RUN");
  command->add_option("--wait", chosen->wait_s, "Seconds to wait for its end; 0: do not wait")
      ->check(CLI::NonNegativeNumber)
      ->type_name("S")
      ->capture_default_str();
  command->footer(
      "The micro-step in hand is finished, then checkpoint, summary, report and LoRA are written.\nExamples:\n  nabla stop\n  nabla stop "
      "runs/pocket/latest --wait 0");
  command->callback([&invocation, chosen] { invocation.run = [chosen] { return stop(*chosen); }; });
}

}  // namespace nabla
