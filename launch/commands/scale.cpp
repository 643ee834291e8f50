#include "common/error.h"
#include "common/json_file.h"
#include "launch/command.h"
#include "launch/live/control_point.h"
#include "launch/live/find_run.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <chrono>
#include <memory>

namespace nabla {

namespace {

constexpr std::chrono::milliseconds kScaleDeadline{5000};

struct ScaleCommand {
  std::int64_t actors = 0;
  std::string run;
};

ControlPoint supervisor_of(const std::string& run) {
  const auto train = read_control_point(run, "train");
  if (train && may_be_alive(*train)) return *train;
  const auto learner = read_control_point(run, "learner");
  if (!train && learner && may_be_alive(*learner)) {
    throw usage_error("[scale] the actors of '{0}' were started by hand: start more with `nabla actor --connect {0}`, end one with SIGTERM",
                      run);
  }
  throw network_error("[scale] no `nabla train` of the run in '{}' is alive", run);
}

int scale(const ScaleCommand& command) {
  const std::string run = find_live_run(command.run);
  const HttpResponse answer = call(supervisor_of(run), "POST", fmt::format("/scale?actors={}", command.actors), kScaleDeadline);
  if (answer.status != 200) throw failure("[scale] nabla train says: {}", answer.body.substr(0, answer.body.find('\n')));
  const auto before = parse_json(answer.body, "the answer of nabla train").value("before", std::int64_t{0});
  fmt::print("{}: from {} to {} actors; {}\n", run, before, command.actors,
             command.actors < before ? "those that go finish their tickets first" : "nabla status shows them as they join");
  if (command.actors == 0) fmt::print("without actors the learner gives up after fleet.actor_deadline\n");
  return 0;
}

}  // namespace

void add_scale_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("scale", "Change how many actors `nabla train` keeps for a live run");
  const auto chosen = std::make_shared<ScaleCommand>();
  command->add_option("actors", chosen->actors, "Actors that there shall be")->required()->check(CLI::Range(0, 4096))->type_name("N");
  command->add_option("run", chosen->run, "Run folder (default: the one run under runs/ that is alive)")->type_name("RUN");
  command->footer(
      "The highest numbers go first, each after its ticket. Nothing is lost, and the weights of a lockstep run stay the same bit by bit.\n"
      "Examples:\n  nabla scale 4\n  nabla scale 1 runs/pocket/latest");
  command->callback([&invocation, chosen] { invocation.run = [chosen] { return scale(*chosen); }; });
}

}  // namespace nabla
