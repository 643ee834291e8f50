#pragma once

#include <string>
#include <vector>

namespace nabla {

// A setting of a Python configuration file, as its assignments leave it.
struct PythonSetting {
  std::string path;   // "training.lr"
  std::string value;  // as text: 1e-3, True, [64, 128] of a list or tuple, the content of a text, {} of an empty dictionary
  std::string place;  // file:line
};

struct PythonConfig {
  std::vector<PythonSetting> settings;  // in the order of their first assignment
  std::vector<std::string> skipped;     // "file:line: what was passed over"
  bool missing_base = false;            // builds on a file that is not there
};

// What an ml_collections configuration file assigns, found by reading it: nothing is executed. Followed are assignments of literals and of
// other settings, ConfigDict(), and functions without arguments that build on others, also of files beside this one (`from config.default_config import
// get_default_configs`). The rest is passed over and listed. data_error for a file that cannot be read or is no Python.
PythonConfig read_python_config(const std::string& file);

}  // namespace nabla
