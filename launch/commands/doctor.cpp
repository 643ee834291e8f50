#include "launch/command.h"
#include "launch/commands/config_options.h"
#include "launch/diagnosis.h"

#include <CLI/CLI.hpp>

#include <cstdio>

namespace nabla {

namespace {

int examine(const CLI::App& command, ConfigSources& sources) {
  sources.assignments = assignments_of(command);
  const bool has_run = !sources.files.empty() || !sources.assignments.empty();
  const RunConfig config = load_config(sources);
  validate(config);
  std::vector<Finding> findings;
  const auto report = [&](const std::vector<Finding>& more) {
    for (const auto& finding : more) std::fputs(finding_text(finding).c_str(), stdout);
    std::fflush(stdout);
    findings.insert(findings.end(), more.begin(), more.end());
  };
  report(diagnose_machine(config));
  report(has_run ? diagnose_run(config) : std::vector<Finding>{{Verdict::kOk, "model", "not checked; --config FILE names a run to check"}});
  return static_cast<int>(exit_code_of(findings));
}

}  // namespace

void add_doctor_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("doctor", "Check whether this machine can run a configuration, and say what to do where not");
  const auto sources = add_config_options(*command);
  command->footer(
      "Exit code 0 unless a line says failed: 3 for a model or data, else 1.\n"
      "Examples:\n  nabla doctor\n  nabla doctor --config configs/pocket.yaml actors.count=4");
  command->callback([&invocation, command, sources] { invocation.run = [command, sources] { return examine(*command, *sources); }; });
}

}  // namespace nabla
