#include "launch/command.h"
#include "launch/version.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace nabla {

namespace {

int print_version() {
  for (const auto& [name, value] : version_facts()) fmt::print("{:<12}{}\n", name, value);
  return 0;
}

}  // namespace

void add_version_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("version", "Print version and build facts");
  command->footer("Examples:\n  nabla version\n  nabla version | grep torch");
  command->callback([&invocation] { invocation.run = print_version; });
}

}  // namespace nabla
