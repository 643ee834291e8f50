#include "launch/truth/staleness.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <optional>
#include <utility>

namespace nabla::truth {

namespace {

// Its floor: on the line how far tables move the metric from the exact fixed point's, in the plane how far chance moves it.
Check change_of(const std::string& metric, const TruthCase& problem, const Measurement& fresh) {
  const double floor = fresh.floors.at(metric);
  return at_most("change_of_" + metric, 0.01, problem.dimensions() == 1 ? std::abs(fresh.values.at(metric) - floor) : floor);
}

}  // namespace

Measure stale_y(const Known& known, const StaleCase& stale) {
  return [known, stale](const TruthCase& problem, Outcome& outcome) {
    const Measurement& fresh = known->of(problem);
    std::map<std::string, double> changes, worst;
    for (const auto& metric : stale.changing) outcome.values[metric + "_lag_0"] = fresh.values.at(metric);
    for (const auto& [name, lag] : {std::pair{"2", std::optional<std::int64_t>(2)}, {"8", 8}, {"forever", std::nullopt}}) {
      TruthCase lagging = problem;
      lagging.policy_lag = lag;
      const Measurement aged = train_and_measure(lagging);
      for (const auto& metric : stale.changing) {
        outcome.values[fmt::format("{}_lag_{}", metric, name)] = aged.values.at(metric);
        changes[metric] = worse(std::abs(aged.values.at(metric) - fresh.values.at(metric)), changes[metric]);
      }
      for (const auto& check : stale.thresholds) worst[check.metric] = worse(aged.values.at(check.metric), worst[check.metric]);
    }
    for (const auto& metric : stale.changing) add_check(change_of(metric, problem, fresh), changes[metric], outcome);
    for (const auto& check : stale.thresholds)
      add_check(at_most("largest_" + check.metric, check.threshold, fresh.floors.at(check.metric)), worst[check.metric], outcome);
  };
}

Measure fresh_noise_y(const Known& known, const StaleCase& stale) {
  return [known, stale](const TruthCase& problem, Outcome& outcome) {
    TruthCase sound = problem;
    sound.tampering = Tampering::kNone;
    const Measurement& fresh = known->of(sound);
    const Measurement loose = train_and_measure(problem);
    for (const auto& metric : stale.changing) {
      outcome.values[metric] = loose.values.at(metric);
      add_check(change_of(metric, problem, fresh), std::abs(loose.values.at(metric) - fresh.values.at(metric)), outcome);
    }
  };
}

}  // namespace nabla::truth
