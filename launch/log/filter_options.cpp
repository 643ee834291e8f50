#include "launch/log/filter_options.h"

#include "common/error.h"

#include <CLI/CLI.hpp>

#include <charconv>
#include <optional>

namespace nabla {

namespace {

template <class T>
std::optional<T> number_in(const std::string& text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc() && result.ptr == end ? std::optional(value) : std::nullopt;
}

// "7", "3:7", "3:" or ":7".
template <class T>
std::optional<Range<T>> range_of(const char* option, const std::string& text) {
  if (text.empty()) return std::nullopt;
  const std::size_t colon = text.find(':');
  const std::string low = text.substr(0, colon), high = colon == std::string::npos ? low : text.substr(colon + 1);
  const auto first = number_in<T>(low), last = number_in<T>(high);
  const bool is_range = (first || low.empty()) && (last || high.empty()) && (first || last);
  if (!is_range) throw usage_error("[log] {} is '{}'; expected a number N, or a range A:B, A: or :B", option, text);
  Range<T> range;
  if (first) range.low = *first;
  if (last) range.high = *last;
  return range;
}

}  // namespace

std::shared_ptr<FilterOptions> add_filter_options(CLI::App& command) {
  const auto options = std::make_shared<FilterOptions>();
  const auto add = [&](const char* name, std::string& value, const char* help, const char* type) {
    command.add_option(name, value, help)->type_name(type)->group("Which records");
  };
  add("--version", options->versions, "Made by this weight version, or one of a range", "N|A:B");
  add("--update", options->updates, "Of this update, or one of a range", "N|A:B");
  add("--slot", options->slots, "Of this slot, or one of a range", "N|A:B");
  add("--reward", options->rewards, "With a reward in this range", "A:B");
  add("--actor", options->actor, "Made by the actor of this name", "NAME");
  add("--prompt", options->prompt, "Whose prompt contains this text", "TEXT");
  return options;
}

RecordFilter filter_of(const FilterOptions& options) {
  RecordFilter filter;
  filter.versions = range_of<std::int64_t>("--version", options.versions);
  filter.updates = range_of<std::int64_t>("--update", options.updates);
  filter.slots = range_of<std::int64_t>("--slot", options.slots);
  filter.rewards = range_of<double>("--reward", options.rewards);
  filter.actor = options.actor;
  filter.prompt = options.prompt;
  return filter;
}

}  // namespace nabla
