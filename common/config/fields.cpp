#include "common/config/fields.h"

#include "common/error.h"
#include "common/nearest.h"

#include <nlohmann/json.hpp>

#include <charconv>
#include <cmath>
#include <optional>

namespace nabla {

namespace {

Error bad_value(const std::string& path, std::string_view text, std::string_view expected) {
  return usage_error("[config] {}: '{}' is not {}", path, text, expected);
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

template <class T>
std::optional<T> whole_text_as(std::string_view text) {
  T value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Integers as digits, or as a decimal such as 1e4 or 32.0 that is one exactly.
template <class Integer>
Integer parse_integer(const std::string& path, std::string_view text) {
  constexpr double kExactLimit = 9007199254740992.0;  // 2^53
  const std::string_view digits = trimmed(text);
  if (const auto value = whole_text_as<Integer>(digits)) return *value;
  const auto number = whole_text_as<double>(digits);
  const bool exact = number && std::trunc(*number) == *number && std::abs(*number) <= kExactLimit;
  if (!exact || (std::is_unsigned_v<Integer> && *number < 0)) {
    throw bad_value(path, text, std::is_unsigned_v<Integer> ? "a whole number from 0" : "a whole number");
  }
  return static_cast<Integer>(*number);
}

std::string parse_list_text(const std::string& path, std::string_view item) {
  if (!item.starts_with('"')) return std::string(item);
  const auto json = nlohmann::json::parse(item, nullptr, false);
  if (!json.is_string()) throw bad_value(path, item, "a text in double quotes");
  return json.get<std::string>();
}

// Items of "[a, b]", "(a, b)" or "a,b"; commas inside double quotes do not part.
std::vector<std::string> split_list(std::string_view text) {
  text = trimmed(text);
  const bool enclosed = text.size() >= 2 && ((text.front() == '[' && text.back() == ']') || (text.front() == '(' && text.back() == ')'));
  if (enclosed) text = trimmed(text.substr(1, text.size() - 2));
  std::vector<std::string> items;
  if (text.empty()) return items;
  std::size_t start = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;  // the next character is escaped
      continue;
    }
    if (text[i] == '"') quoted = !quoted;
    if (text[i] != ',' || quoted) continue;
    items.emplace_back(trimmed(text.substr(start, i - start)));
    start = i + 1;
  }
  const std::string_view last = trimmed(text.substr(start));
  if (!last.empty()) items.emplace_back(last);  // Python's "(1,)" ends with a comma
  return items;
}

template <class T>
std::vector<T> parse_list(const std::string& path, const std::string& text) {
  std::vector<T> values;
  for (const std::string& item : split_list(text)) config_text::parse(path, item, values.emplace_back());
  return values;
}

template <class T>
std::string print_list(const std::vector<T>& values) {
  std::string text = "[";
  for (const T& value : values) text += (text.size() > 1 ? ", " : "") + config_text::print(value);
  return text + "]";
}

std::string leaf_of(std::string_view path) { return std::string(path.substr(path.rfind('.') + 1)); }

// The key a person most likely meant: the same last part in another group, else the nearest spelling.
std::string likely_key(const std::vector<Field>& fields, std::string_view key) {
  std::vector<std::string> paths;
  for (const Field& field : fields) {
    if (leaf_of(field.path) == leaf_of(key)) return field.path;
    paths.push_back(field.path);
    paths.insert(paths.end(), field.aliases.begin(), field.aliases.end());
  }
  return nearest(key, paths);
}

std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  for (std::size_t start = 0; start <= path.size();) {
    const std::size_t end = std::min(path.find('.', start), path.size());
    parts.emplace_back(path.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

// Texts that YAML takes as they stand; all others are put in double quotes, where YAML reads JSON's escapes.
std::string yaml_text(const std::string& text) {
  constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-";
  const bool plain = !text.empty() && text.find_first_not_of(kPlain) == std::string::npos && text.front() != '-' && text != "null" &&
                     text != "Null" && text != "NULL";
  return plain ? text : nlohmann::json(text).dump();
}

}  // namespace

namespace config_text {

std::string print(double value) { return fmt::format("{}", value); }
std::string print(std::int64_t value) { return std::to_string(value); }
std::string print(std::uint64_t value) { return std::to_string(value); }
std::string print(bool value) { return value ? "true" : "false"; }
std::string print(const std::string& value) { return value; }
std::string print(const std::vector<double>& values) { return print_list(values); }
std::string print(const std::vector<std::int64_t>& values) { return print_list(values); }

std::string print(const std::vector<std::string>& values) {
  std::string text = "[";
  for (const std::string& value : values) text += (text.size() > 1 ? ", " : "") + nlohmann::json(value).dump();
  return text + "]";
}

void parse(const std::string& path, const std::string& text, double& value) {
  const auto number = whole_text_as<double>(trimmed(text));
  if (!number || !std::isfinite(*number)) throw bad_value(path, text, "a number");
  value = *number;
}

void parse(const std::string& path, const std::string& text, std::int64_t& value) { value = parse_integer<std::int64_t>(path, text); }
void parse(const std::string& path, const std::string& text, std::uint64_t& value) { value = parse_integer<std::uint64_t>(path, text); }

void parse(const std::string& path, const std::string& text, bool& value) {
  const std::string_view word = trimmed(text);
  if (word != "true" && word != "True" && word != "false" && word != "False") throw bad_value(path, text, "true or false");
  value = word == "true" || word == "True";
}

void parse(const std::string&, const std::string& text, std::string& value) { value = text; }

void parse(const std::string& path, const std::string& text, std::vector<double>& values) { values = parse_list<double>(path, text); }
void parse(const std::string& path, const std::string& text, std::vector<std::int64_t>& values) {
  values = parse_list<std::int64_t>(path, text);
}

void parse(const std::string& path, const std::string& text, std::vector<std::string>& values) {
  std::vector<std::string> parsed;
  for (const std::string& item : split_list(text)) parsed.push_back(parse_list_text(path, item));
  values = std::move(parsed);
}

}  // namespace config_text

const Field& find_field(const std::vector<Field>& fields, std::string_view key) {
  for (const Field& field : fields) {
    if (field.path == key) return field;
    for (const std::string& alias : field.aliases) {
      if (alias == key) return field;
    }
  }
  for (const Field& field : fields) {
    if (field.path.starts_with(std::string(key) + ".")) {
      throw usage_error("[config] '{}' is a group of keys; set one of them, such as '{}'", key, field.path);
    }
  }
  throw usage_error("[config] unknown key '{}'; did you mean '{}'?", key, likely_key(fields, key));
}

void set_field(const std::vector<Field>& fields, std::string_view key, const std::string& text) { find_field(fields, key).set(text); }

Assignment split_assignment(std::string_view text) {
  std::string_view rest = text;
  if (rest.starts_with("--")) rest.remove_prefix(2);
  if (rest.starts_with("config.")) rest.remove_prefix(7);
  const std::size_t equals = rest.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw usage_error("[config] '{}' is not an assignment; key=value is expected, such as training.lr=1e-4", text);
  }
  return {rest.substr(0, equals), rest.substr(equals + 1)};
}

void apply_assignment(const std::vector<Field>& fields, std::string_view assignment) {
  const auto [key, value] = split_assignment(assignment);
  set_field(fields, key, std::string(value));
}

std::string to_yaml(const std::vector<Field>& fields) {
  std::string yaml;
  std::vector<std::string> open;  // groups whose headers stand above
  for (const Field& field : fields) {
    std::vector<std::string> groups = parts_of(field.path);
    const std::string name = groups.back();
    groups.pop_back();
    std::size_t depth = 0;
    while (depth < open.size() && depth < groups.size() && open[depth] == groups[depth]) ++depth;
    for (; depth < groups.size(); ++depth) yaml += std::string(2 * depth, ' ') + groups[depth] + ":\n";
    open = groups;
    const std::string value = field.type == "text" ? yaml_text(field.get()) : field.get();
    yaml += fmt::format("{:{}}{}: {}  # {}\n", "", 2 * groups.size(), name, value, field.help);
  }
  return yaml;
}

namespace {

nlohmann::ordered_json schema_of(const Field& field) {
  const auto scalar = [](std::string_view type) {
    return type == "text" || type == "texts" ? "string" : type.starts_with("integer") ? "integer" : "number";
  };
  nlohmann::ordered_json schema;
  if (field.type == "boolean") {
    schema["type"] = "boolean";
  } else if (field.type.starts_with("list of ")) {
    schema["type"] = "array";
    schema["items"]["type"] = scalar(std::string_view(field.type).substr(8));
  } else {
    schema["type"] = scalar(field.type);
  }
  schema["description"] = field.help;
  schema["default"] = field.type == "text" ? nlohmann::ordered_json(field.default_text) : nlohmann::ordered_json::parse(field.default_text);
  return schema;
}

}  // namespace

std::string to_json_schema(const std::vector<Field>& fields, const std::string& title) {
  nlohmann::ordered_json root{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", title}};
  const auto add = [&](const std::string& path, const nlohmann::ordered_json& schema) {
    nlohmann::ordered_json* object = &root;
    for (const std::string& part : parts_of(path)) {
      (*object)["type"] = "object";
      (*object)["additionalProperties"] = false;
      object = &(*object)["properties"][part];
    }
    *object = schema;
  };
  for (const Field& field : fields) {
    add(field.path, schema_of(field));
    for (const std::string& alias : field.aliases) {
      add(alias, {{"type", schema_of(field)["type"]}, {"description", "another name of " + field.path}});
    }
  }
  return root.dump(2) + "\n";
}

}  // namespace nabla
