#include "common/error.h"
#include "common/json_file.h"
#include "common/pause.h"
#include "launch/command.h"
#include "launch/live/control_point.h"
#include "launch/live/find_run.h"
#include "learner/checkpoint/checkpoint_folder.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <chrono>
#include <memory>

namespace nabla {

namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kDeadline{5000}, kLookAgain{100};

struct CheckpointCommand {
  std::string run;
  double wait_s = 120;
};

ControlPoint learner_of(const std::string& run) {
  const auto point = read_control_point(run, "learner");
  if (point && may_be_alive(*point)) return *point;
  throw network_error("[checkpoint-now] no learner of the run in '{}' is alive", run);
}

struct Progress {
  std::int64_t updates = 0, last_checkpoint = -1;
};

Progress progress_of(const ControlPoint& learner) {
  const HttpResponse answer = call(learner, "GET", "/status", kDeadline);
  if (answer.status != 200) throw failure("[checkpoint-now] the learner says: {}", answer.body.substr(0, answer.body.find('\n')));
  const auto status = parse_json(answer.body, "the learner's status");
  return {status.at("updates").at("done").get<std::int64_t>(), status.at("last_checkpoint").get<std::int64_t>()};
}

int make_checkpoint(const CheckpointCommand& command) {
  const std::string run = find_live_run(command.run);
  const ControlPoint learner = learner_of(run);
  const std::int64_t wanted = progress_of(learner).updates;
  const HttpResponse answer = call(learner, "POST", "/checkpoint", kDeadline);
  if (answer.status != 200) throw failure("[checkpoint-now] the learner says: {}", answer.body.substr(0, answer.body.find('\n')));
  if (command.wait_s <= 0) {
    fmt::print("{}: asked for a checkpoint\n", run);
    return 0;
  }
  const auto deadline = steady_clock::now() + std::chrono::milliseconds(static_cast<std::int64_t>(1000 * command.wait_s));
  std::int64_t last = progress_of(learner).last_checkpoint;
  for (; last < wanted; last = progress_of(learner).last_checkpoint) {
    if (steady_clock::now() >= deadline) {
      throw network_error(
          "[checkpoint-now] the learner of '{}' was asked, but has no checkpoint of update {} or later after {:.0f} s; an update may take "
          "longer: --wait S",
          run, wanted, command.wait_s);
    }
    pause_until(steady_clock::now() + kLookAgain, {});
  }
  fmt::print("{}/checkpoints/{}\n", run, checkpoint_name(last));
  return 0;
}

}  // namespace

void add_checkpoint_now_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("checkpoint-now", "Have a live run write a checkpoint at the next boundary of updates, and go on");
  const auto chosen = std::make_shared<CheckpointCommand>();
  command->add_option("run", chosen->run, "Run folder (default: the one run under runs/ that is alive)")->type_name("RUN");
  command->add_option("--wait", chosen->wait_s, "Seconds to wait until it is written; 0: do not wait")
      ->check(CLI::NonNegativeNumber)
      ->type_name("S")
      ->capture_default_str();
  command->footer(
      "Prints the checkpoint's folder. It counts among the newest checkpoint.keep.\nExamples:\n  nabla checkpoint-now\n  nabla "
      "checkpoint-now "
      "runs/pocket/latest --wait 600");
  command->callback([&invocation, chosen] { invocation.run = [chosen] { return make_checkpoint(*chosen); }; });
}

}  // namespace nabla
