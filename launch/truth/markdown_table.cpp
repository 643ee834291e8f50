#include "launch/truth/markdown_table.h"

#include "common/nearest.h"
#include "launch/truth/tiers.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace nabla::truth {

namespace {

using Json = nlohmann::ordered_json;

// One metric of a trial at all its seeds.
struct Row {
  std::string tier, name, metric, bound;
  bool control = false, as_expected = true;
  std::vector<std::pair<std::uint64_t, std::string>> values;  // by seed
  std::optional<double> floor;
};

std::string number_text(const Json& value) { return value.is_number() ? fmt::format("{:.3g}", value.get<double>()) : "not finite"; }

bool has_upper_bound(const Json& check) { return check.contains("at_most"); }

std::string threshold_text(const Json& check) { return number_text(check.at(has_upper_bound(check) ? "at_most" : "at_least")); }

bool holds(const Json& check) {
  if (!check.at("value").is_number()) return false;
  const auto value = check.at("value").get<double>();
  return has_upper_bound(check) ? value <= check.at("at_most").get<double>() : value >= check.at("at_least").get<double>();
}

Row& row_of(std::vector<Row>& rows, const Json& entry, const Json& check) {
  const auto name = entry.at("case").get<std::string>(), metric = check.at("metric").get<std::string>();
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.name == name && row.metric == metric; });
  if (found != rows.end()) return *found;
  rows.push_back({.tier = entry.at("tier").get<std::string>(),
                  .name = name,
                  .metric = metric,
                  .bound = (has_upper_bound(check) ? "at most " : "at least ") + threshold_text(check),
                  .control = entry.at("expected") == "must fail",
                  .values = {},
                  .floor = {}});
  return rows.back();
}

std::vector<Row> rows_of(const Json& result) {
  std::vector<Row> rows;
  for (const auto& entry : result.at("cases")) {
    for (const auto& check : entry.at("checks")) {
      Row& row = row_of(rows, entry, check);
      row.values.emplace_back(entry.at("seed").get<std::uint64_t>(), number_text(check.at("value")));
      row.as_expected = row.as_expected && (row.control ? check.at("value").is_number() && entry.at("pass").get<bool>() : holds(check));
      // A threshold that a control gives is another one at each seed.
      if (row.bound.find(threshold_text(check)) == std::string::npos) row.bound += ", " + threshold_text(check);
      if (check.contains("floor") && check.at("floor").is_number())
        row.floor = std::max(row.floor.value_or(0.0), check.at("floor").get<double>());
      // A control is there to break one of its thresholds, and that is the first.
      if (row.control) break;
    }
  }
  return rows;
}

std::string verdict(const Row& row) {
  if (!row.as_expected) return "**wrong**";
  return row.control ? "fails, as it must" : "passes";
}

std::string line_of(const Row& row, const std::set<std::uint64_t>& seeds) {
  std::string line = fmt::format("| {} | {} | {} |", row.tier, row.name, row.metric);
  for (const auto seed : seeds) {
    const auto found = std::find_if(row.values.begin(), row.values.end(), [&](const auto& value) { return value.first == seed; });
    line += " " + (found == row.values.end() ? std::string() : found->second) + " |";
  }
  return line + fmt::format(" {} | {} | {} |\n", row.floor ? fmt::format("{:.2g}", *row.floor) : "", row.bound, verdict(row));
}

}  // namespace

std::string markdown_table(const Json& result) {
  std::set<std::uint64_t> seeds;
  double seconds = 0.0, clock = 0.0;
  for (const auto& entry : result.at("cases")) {
    seeds.insert(entry.at("seed").get<std::uint64_t>());
    seconds += entry.at("cpu_seconds").get<double>();
    clock += entry.at("seconds").get<double>();
  }
  std::string table = "| tier | trial | metric |", rule = "|---|---|---|";
  for (const auto seed : seeds) {
    table += fmt::format(" seed {} |", seed);
    rule += "---|";
  }
  table += " floor | asked | |\n" + rule + "---|---|---|\n";
  for (const auto& row : rows_of(result)) table += line_of(row, seeds);
  return table + fmt::format("\n{} trials, {:.1f} minutes, {:.1f} of them processor time.\n", result.at("cases").size(), clock / 60.0, seconds / 60.0);
}

std::string coverage_text(const Json& result) {
  std::set<std::pair<std::string, std::uint64_t>> held;
  for (const auto& entry : result.at("cases")) held.emplace(entry.at("case").get<std::string>(), entry.at("seed").get<std::uint64_t>());
  std::string missing;
  for (const auto seed : table_seeds()) {
    std::vector<std::string> names;
    for (const auto& trial : trials_of(tier_names(), {seed}))
      if (!held.contains({trial.problem.name, seed})) names.push_back(trial.problem.name);
    if (!names.empty()) missing += fmt::format("\n- at seed {}: {}", seed, comma_list(names));
  }
  if (missing.empty()) return fmt::format("Every trial of the whole table is in it, at seeds {}.\n", fmt::join(table_seeds(), ", "));
  return "Trials of the whole table that are not in it:\n" + missing + "\n";
}

}  // namespace nabla::truth
