#pragma once

#include "launch/yaml_config.h"

#include <CLI/App.hpp>

#include <memory>

namespace nabla {

// Adds --config FILE... and the key=value tail to a subcommand; the result is filled when the command line was parsed.
std::shared_ptr<ConfigSources> add_config_options(CLI::App& command);

// The assignments among the arguments CLI11 left over ("key=value", "--config.key=value"); usage_error on anything else.
std::vector<std::string> assignments_of(const CLI::App& command);

}  // namespace nabla
