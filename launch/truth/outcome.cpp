#include "launch/truth/outcome.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace nabla::truth {

namespace {

// JSON knows no infinity.
nlohmann::ordered_json number(double value) { return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(); }

}  // namespace

bool Outcome::pass() const {
  // A control that yields no number shows nothing: what is broken may be the measurement.
  if (!std::all_of(checks.begin(), checks.end(), [](const Check& check) { return std::isfinite(check.value); })) return false;
  if (expectation == Expectation::kBreak) return !checks.front().holds();
  return std::all_of(checks.begin(), checks.end(), [](const Check& check) { return check.holds(); });
}

nlohmann::ordered_json to_json(const Outcome& outcome) {
  nlohmann::ordered_json json{{"case", outcome.name}, {"tier", outcome.tier}, {"seed", outcome.seed}};
  json["expected"] = outcome.expectation == Expectation::kHold ? "pass" : "must fail";
  if (!outcome.exact.is_null()) json["exact"] = outcome.exact;
  for (const auto& [name, value] : outcome.values) json[name] = number(value);
  const Check& first = outcome.checks.front();
  json["metric"] = first.metric;
  json["floor"] = first.floor ? number(*first.floor) : nlohmann::ordered_json();
  json["threshold"] = number(first.threshold);
  json["checks"] = nlohmann::ordered_json::array();
  for (const auto& check : outcome.checks) {
    nlohmann::ordered_json entry{{"metric", check.metric}, {"value", number(check.value)}};
    entry[check.bound == Bound::kAtMost ? "at_most" : "at_least"] = number(check.threshold);
    if (check.floor) entry["floor"] = number(*check.floor);
    json["checks"].push_back(entry);
  }
  json["seconds"] = outcome.seconds;
  json["cpu_seconds"] = outcome.cpu_seconds;
  json["pass"] = outcome.pass();
  return json;
}

std::string to_line(const Outcome& outcome) {
  std::string checks;
  for (const auto& check : outcome.checks) {
    const std::string floor = check.floor ? fmt::format(" (floor {:.2g})", *check.floor) : "";
    checks += fmt::format("  {} {:.4g} {} {:.3g}{}", check.metric, check.value,
                          check.bound == Bound::kAtMost ? "<=" : ">=", check.threshold, floor);
  }
  const bool control = outcome.expectation == Expectation::kBreak;
  return fmt::format("{:<4} {:<44} seed {}{}  {}: {}  {:.0f} s", outcome.tier, outcome.name, outcome.seed, checks,
                     control ? "must fail" : "must pass", outcome.pass() ? "ok" : "WRONG", outcome.seconds);
}

}  // namespace nabla::truth
