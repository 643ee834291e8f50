#include "launch/commands/config_options.h"

#include "common/error.h"

#include <CLI/CLI.hpp>

namespace nabla {

namespace {

// "config print" for the inner one of two commands.
std::string full_name(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  return parent == nullptr || parent->get_parent() == nullptr ? command.get_name() : full_name(*parent) + " " + command.get_name();
}

}  // namespace

std::shared_ptr<ConfigSources> add_config_options(CLI::App& command) {
  auto sources = std::make_shared<ConfigSources>();
  command
      .add_option("--config", sources->files,
                  "YAML file or name of a preset (see 'nabla config presets'); may be given several times, later ones win")
      ->type_name("FILE|PRESET")
      ->allow_extra_args(false);
  command.allow_extras();
  return sources;
}

std::vector<std::string> assignments_of(const CLI::App& command) {
  std::vector<std::string> assignments;
  for (const auto& argument : command.remaining()) {
    if (argument.find('=') == std::string::npos) {
      throw usage_error("unknown argument '{}'; settings are given as key=value (see 'nabla config print'), options by 'nabla {} --help'",
                        argument, full_name(command));
    }
    assignments.push_back(argument);
  }
  return assignments;
}

}  // namespace nabla
