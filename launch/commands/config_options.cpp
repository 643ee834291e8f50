#include "launch/commands/config_options.h"

#include "common/error.h"
#include "common/nearest.h"

#include <CLI/CLI.hpp>

namespace nabla {

namespace {

// "config print" for the inner one of two commands.
std::string full_name(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  return parent == nullptr || parent->get_parent() == nullptr ? command.get_name() : full_name(*parent) + " " + command.get_name();
}

// Of an option, the one that it is nearest to.
std::string suggestion(const CLI::App& command, const std::string& argument) {
  if (!argument.starts_with("--")) return "";
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options())
    if (!option->get_positional()) names.push_back(option->get_name());
  return fmt::format("; did you mean '{}'?", nearest(argument, names));
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
      throw usage_error("unknown argument '{}'{} (settings are given as key=value, see 'nabla config print'; options by 'nabla {} --help')",
                        argument, suggestion(command, argument), full_name(command));
    }
    assignments.push_back(argument);
  }
  return assignments;
}

}  // namespace nabla
