#pragma once

#include <string>
#include <vector>

namespace nabla {

// A named configuration of configs/, compiled in, so that `--config official` works in every folder.
struct Preset {
  const char* name;
  const char* yaml;
};

// In the order of launch/CMakeLists.txt.
const std::vector<Preset>& presets();
// The preset of that name, nullptr if there is none. ".yaml" at its end is passed over.
const Preset* find_preset(const std::string& name);
std::vector<std::string> preset_names();
// The first sentence of the comment a preset starts with.
std::string preset_summary(const Preset& preset);

}  // namespace nabla
