#include "launch/presets.h"

#include "launch/preset_texts.h"

#include <string_view>

namespace nabla {

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all(kPresetTexts.begin(), kPresetTexts.end());
  return all;
}

const Preset* find_preset(const std::string& name) {
  const std::string stem = name.ends_with(".yaml") ? name.substr(0, name.size() - 5) : name;
  for (const Preset& preset : presets()) {
    if (stem == preset.name) return &preset;
  }
  return nullptr;
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.emplace_back(preset.name);
  return names;
}

std::string preset_summary(const Preset& preset) {
  std::string comment;
  std::string_view rest = preset.yaml;
  while (rest.starts_with("# ")) {
    const std::size_t end = rest.find('\n');
    if (!comment.empty()) comment += ' ';
    comment += rest.substr(2, end - 2);
    rest.remove_prefix(end + 1);
  }
  const std::size_t stop = comment.find(". ");
  return stop == std::string::npos ? comment : comment.substr(0, stop + 1);
}

}  // namespace nabla
