#pragma once

#include <string>
#include <vector>

namespace nabla {

struct Migration {
  std::string yaml;                // the settings the file makes, each explained; loads as it stands
  std::vector<std::string> notes;  // what was changed, dropped or passed over, with file:line
};

// Turns a configuration file of the official release into ours. `assignments` are those of its command line ("--config.a.b=value",
// "--seed=0", "--exp_name=fast") and win over the file. Values of dropped keys are never repeated: they may be secrets.
Migration migrate_python_config(const std::string& file, const std::vector<std::string>& assignments);

}  // namespace nabla
