#include "launch/yaml_config.h"

#include "common/error.h"
#include "common/nearest.h"
#include "launch/official_keys.h"
#include "launch/presets.h"

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <set>

namespace nabla {

namespace {

constexpr int kMaxIncludeDepth = 8;

// The start of every message: file:line:column, counted from 1.
std::string place(const std::string& source, const YAML::Mark& mark) {
  return fmt::format("{}:{}:{}", source, mark.line + 1, mark.column + 1);
}

// The text of a scalar, or of a list of scalars as "[a, b]".
std::string text_of(const YAML::Node& node, const std::string& source, const std::string& key) {
  if (node.IsScalar()) return node.Scalar();
  if (node.IsNull()) return "";
  if (!node.IsSequence()) throw usage_error("{}: '{}' is a group of settings, not a value", place(source, node.Mark()), key);
  std::string text;
  for (const auto& item : node) {
    if (!item.IsScalar()) throw usage_error("{}: '{}' takes a list of plain values", place(source, item.Mark()), key);
    text += (text.empty() ? "" : ", ") + item.Scalar();
  }
  return "[" + text + "]";
}

void refuse_official_only_key(const std::string& key) {
  if (const OfficialKey* official = find_official_only_key(key)) {
    throw usage_error("[config] '{}' is a key of the official release that has no place here: {}", key, official->advice);
  }
}

class YamlReader {
 public:
  explicit YamlReader(RunConfig& config) : fields_(fields_of(config)) {}

  // A file, else the preset of that name.
  void read(const std::string& name) {
    if (std::filesystem::is_regular_file(name)) return read_file(name, 0);
    if (const Preset* preset = find_preset(name); preset != nullptr && !name.ends_with(".yaml")) return read_preset(*preset, 0);
    throw usage_error("[config] there is no file '{}' and no preset of that name; did you mean '{}'? Presets: {}", name,
                      nearest(name, preset_names()), comma_list(preset_names()));
  }

  void read_text(const std::string& yaml, const std::string& source) {
    try {
      apply(YAML::Load(yaml), source, 0, Origin::kFile);
    } catch (const YAML::Exception& error) {
      throw usage_error("{}: {}", place(source, error.mark), error.msg);
    }
  }

  void assign(const std::string& assignment) {
    refuse_official_only_key(std::string(split_assignment(assignment).key));
    apply_assignment(fields_, assignment);
  }

 private:
  // What `defaults` names is read first: presets build on presets, whatever files lie in the working folder; files on files beside them, else on presets.
  enum class Origin { kFile, kPreset };

  void apply(const YAML::Node& root, const std::string& source, int depth, Origin origin) {
    if (root.IsNull()) return;
    if (!root.IsMap()) throw usage_error("{}: a configuration is a mapping of keys to values", place(source, root.Mark()));
    if (const YAML::Node defaults = root["defaults"]) include(defaults, source, depth, origin);
    walk(root, "", source);
  }

  void read_file(const std::string& path, int depth) {
    check_depth(path, depth);
    try {
      apply(YAML::LoadFile(path), path, depth, Origin::kFile);
    } catch (const YAML::Exception& error) {
      throw usage_error("{}: {}", place(path, error.mark), error.msg);
    }
  }

  void read_preset(const Preset& preset, int depth) {
    const std::string source = fmt::format("preset {}", preset.name);
    check_depth(source, depth);
    apply(YAML::Load(preset.yaml), source, depth, Origin::kPreset);
  }

  void check_depth(const std::string& source, int depth) {
    if (depth > kMaxIncludeDepth)
      throw usage_error("{}: `defaults` includes go more than {} files deep; is there a circle?", source, kMaxIncludeDepth);
  }

  void include(const YAML::Node& defaults, const std::string& source, int depth, Origin origin) {
    const std::filesystem::path folder = std::filesystem::path(source).parent_path();
    const auto include_one = [&](const YAML::Node& node) {
      if (!node.IsScalar()) throw usage_error("{}: `defaults` takes names of files and presets", place(source, node.Mark()));
      const std::string path = (folder / node.Scalar()).string();
      if (origin == Origin::kFile && std::filesystem::is_regular_file(path)) return read_file(path, depth + 1);
      const Preset* preset = find_preset(node.Scalar());
      if (preset == nullptr)
        throw usage_error("{}: there is no file '{}' and no preset '{}'", place(source, node.Mark()), path, node.Scalar());
      read_preset(*preset, depth + 1);
    };
    if (defaults.IsScalar()) return include_one(defaults);
    for (const auto& node : defaults) include_one(node);
  }

  void walk(const YAML::Node& map, const std::string& prefix, const std::string& source) {
    std::set<std::string> seen;
    for (const auto& entry : map) {
      const std::string key = entry.first.Scalar();
      const std::string path = prefix + key;
      if (path == "defaults") continue;
      if (!seen.insert(key).second) throw usage_error("{}: '{}' is given twice", place(source, entry.first.Mark()), path);
      if (entry.second.IsMap()) {
        walk(entry.second, path + ".", source);
        continue;
      }
      set_at(entry, path, source);
    }
  }

  void set_at(const YAML::const_iterator::value_type& entry, const std::string& path, const std::string& source) {
    try {
      refuse_official_only_key(path);
      set_field(fields_, path, text_of(entry.second, source, path));
    } catch (const Error& error) {
      const std::string message = error.what();
      const std::string where = place(source, entry.first.Mark());
      if (message.starts_with(where) || message.starts_with(source + ":")) throw;
      throw usage_error("{}: {}", where, message);
    }
  }

  std::vector<Field> fields_;
};

}  // namespace

RunConfig load_config(const ConfigSources& sources) {
  RunConfig config;
  YamlReader reader(config);
  for (const auto& file : sources.files) reader.read(file);
  for (const auto& assignment : sources.assignments) reader.assign(assignment);
  return config;
}

RunConfig parse_config_text(const std::string& yaml, const std::string& source, const std::vector<std::string>& assignments) {
  RunConfig config;
  YamlReader reader(config);
  reader.read_text(yaml, source);
  for (const auto& assignment : assignments) reader.assign(assignment);
  return config;
}

}  // namespace nabla
