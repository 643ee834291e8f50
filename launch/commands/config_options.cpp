#include "launch/commands/config_options.h"

#include "common/error.h"

#include <CLI/CLI.hpp>

namespace nabla {

std::shared_ptr<ConfigSources> add_config_options(CLI::App& command) {
  auto sources = std::make_shared<ConfigSources>();
  command.add_option("--config", sources->files, "YAML file; may be given several times, later ones win")->type_name("FILE")->allow_extra_args(false);
  command.allow_extras();
  return sources;
}

std::vector<std::string> assignments_of(const CLI::App& command) {
  std::vector<std::string> assignments;
  for (const auto& argument : command.remaining()) {
    if (argument.find('=') == std::string::npos) {
      throw usage_error("unknown argument '{}'; settings are given as key=value (see 'nabla config print'), options by 'nabla {} --help'", argument,
                        command.get_name());
    }
    assignments.push_back(argument);
  }
  return assignments;
}

}  // namespace nabla
