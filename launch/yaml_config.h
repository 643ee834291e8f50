#pragma once

#include "common/config/run_config.h"

#include <string>
#include <vector>

namespace nabla {

// Where a run's settings come from; later sources win.
struct ConfigSources {
  std::vector<std::string> files;  // YAML files, or names of presets; `defaults: [other.yaml]` includes files beside it or presets first
  std::vector<std::string> assignments;  // "key.sub=value" or "--config.key.sub=value"
};

// Reads files, then assignments, into the defaults. usage_error names file:line:column and the nearest key for an unknown one, tells what to set
// instead of a key that only the official release has, says what was expected for a bad value, and refuses a key given twice in one file.
// Does not validate().
RunConfig load_config(const ConfigSources& sources);

// The same for YAML text, such as the configuration an actor gets with its welcome; `source` stands for the file name in messages.
RunConfig parse_config_text(const std::string& yaml, const std::string& source, const std::vector<std::string>& assignments);

}  // namespace nabla
