#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nabla {

// Configuration by reflection. A struct takes part with one function beside it,
//   template <class Visitor> void visit_fields(Visitor& visit, TrainingConfig& config) { visit("lr", config.lr, "learning rate"); ... }
// where visit.group("training", config.training) descends into another such struct and visit.alias("old.path") gives the field just
// visited a second name. Members are double, std::int64_t, std::uint64_t, bool, std::string or a vector of std::int64_t, double or std::string.

// One setting, without its C++ type. Borrowed from the config it was made of, which must outlive it.
struct Field {
  std::string path;  // "training.lr"
  std::string type;  // "number", "integer", "boolean", "text", "list of integers", "list of numbers", "list of texts"
  std::string help;
  std::string default_text;  // get() of a fresh config
  std::vector<std::string> aliases;
  std::function<std::string()> get;
  // Parses and stores. Throws usage_error naming key, value and what was expected; the old value then stays.
  std::function<void(const std::string&)> set;
};

namespace config_text {
// Text of a value and back. parse() throws usage_error naming `path`. Numbers may be written as 1e4, integers too where that is exact;
// booleans as true, True, false, False; lists as "[a, b]" or "a,b", texts in lists bare or in double quotes.
std::string print(double value);
std::string print(std::int64_t value);
std::string print(std::uint64_t value);
std::string print(bool value);
std::string print(const std::string& value);
std::string print(const std::vector<double>& values);
std::string print(const std::vector<std::int64_t>& values);
std::string print(const std::vector<std::string>& values);
void parse(const std::string& path, const std::string& text, double& value);
void parse(const std::string& path, const std::string& text, std::int64_t& value);
void parse(const std::string& path, const std::string& text, std::uint64_t& value);
void parse(const std::string& path, const std::string& text, bool& value);
void parse(const std::string& path, const std::string& text, std::string& value);
void parse(const std::string& path, const std::string& text, std::vector<double>& values);
void parse(const std::string& path, const std::string& text, std::vector<std::int64_t>& values);
void parse(const std::string& path, const std::string& text, std::vector<std::string>& values);

inline const char* type_name(const double&) { return "number"; }
inline const char* type_name(const std::int64_t&) { return "integer"; }
inline const char* type_name(const std::uint64_t&) { return "integer"; }
inline const char* type_name(const bool&) { return "boolean"; }
inline const char* type_name(const std::string&) { return "text"; }
inline const char* type_name(const std::vector<double>&) { return "list of numbers"; }
inline const char* type_name(const std::vector<std::int64_t>&) { return "list of integers"; }
inline const char* type_name(const std::vector<std::string>&) { return "list of texts"; }
}  // namespace config_text

// The visitor that collects the fields of a struct.
class FieldCollector {
 public:
  template <class T>
  void operator()(std::string_view key, T& value, std::string_view help) {
    const std::string path = prefix_ + std::string(key);
    fields_.push_back({path,
                       config_text::type_name(value),
                       std::string(help),
                       config_text::print(value),
                       {},
                       [&value] { return config_text::print(value); },
                       [&value, path](const std::string& text) { config_text::parse(path, text, value); }});
  }

  template <class Group>
  void group(std::string_view key, Group& group) {
    const std::string outer = prefix_;
    prefix_ += std::string(key) + ".";
    visit_fields(*this, group);
    prefix_ = outer;
  }

  // Gives the field just visited a second, full path.
  void alias(std::string_view path) { fields_.back().aliases.emplace_back(path); }

  std::vector<Field> take() { return std::move(fields_); }

 private:
  std::string prefix_;
  std::vector<Field> fields_;
};

// Fields in the order of visit_fields. `config` must outlive the result.
template <class Config>
std::vector<Field> fields_of(Config& config) {
  FieldCollector fresh, collector;
  Config defaults{};
  visit_fields(fresh, defaults);
  visit_fields(collector, config);
  std::vector<Field> fields = collector.take();
  const std::vector<Field> originals = fresh.take();
  for (std::size_t i = 0; i < fields.size(); ++i) fields[i].default_text = originals[i].default_text;
  return fields;
}

// The field of a path or alias. Throws usage_error with the nearest key if there is none.
const Field& find_field(const std::vector<Field>& fields, std::string_view key);
// find_field and set in one call.
void set_field(const std::vector<Field>& fields, std::string_view key, const std::string& text);
// The parts of "key=value"; a leading "--" and "config." are accepted, as in the official command line ("--config.training.lr=1e-4"). usage_error for a text
// without a key or '='.
struct Assignment {
  std::string_view key, value;
};
Assignment split_assignment(std::string_view text);
// split_assignment and set_field in one call.
void apply_assignment(const std::vector<Field>& fields, std::string_view assignment);

// The whole configuration as YAML that reads back to the same values, each line with its help as a comment.
std::string to_yaml(const std::vector<Field>& fields);
// JSON schema (draft 2020-12) of the configuration, indented, with defaults and help; unknown keys are not allowed.
std::string to_json_schema(const std::vector<Field>& fields, const std::string& title);

}  // namespace nabla
