#include "launch/truth/tiers.h"

#include "common/error.h"
#include "common/nearest.h"
#include "launch/truth/adjoint_identity.h"
#include "launch/truth/experiment.h"
#include "launch/truth/gradient_check.h"
#include "launch/truth/measurement.h"
#include "launch/truth/score_error.h"
#include "launch/truth/tier_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>

namespace nabla::truth {

namespace {

using Measure = std::function<void(const TruthCase&, Outcome&)>;

TruthCase named(TruthCase problem, const std::string& name) {
  problem.name = name;
  return problem;
}

TruthCase spoilt(TruthCase problem, const std::string& name, Tampering tampering) {
  problem.tampering = tampering;
  return named(std::move(problem), name);
}

TruthCase release_map(TruthCase problem, const std::string& name) {
  problem.flow_from_forward_loss = true;
  return named(std::move(problem), name);
}

Measure law_within(const std::vector<Check>& thresholds) {
  return [thresholds](const TruthCase& problem, Outcome& outcome) { measure_law(problem, thresholds, outcome); };
}

Check at_most(const std::string& metric, double threshold) { return {.metric = metric, .threshold = threshold, .floor = {}}; }

void add_check(Check check, double value, Outcome& outcome) {
  check.value = value;
  outcome.values[check.metric] = value;
  outcome.checks.push_back(check);
}

std::vector<Check> linear_thresholds() { return {at_most("tv", 0.03)}; }
std::vector<Check> quadratic_thresholds() { return {at_most("tv", 0.04)}; }
std::vector<Check> plane_thresholds() { return {at_most("kl_weights", 0.01), at_most("sliced_w1", 0.12)}; }

// Both finite-schedule corrections of 5.2: the chain's own end variance, and the start law N(0,1) in place of the tilted one.
void measure_gaussian(const TruthCase& problem, Outcome& outcome) {
  constexpr double kTolerance = 1e-4;
  measure_law(problem, {}, outcome);
  const StepTable table = step_table_of(problem);
  double variance = 1.0;
  for (const auto& t : table.transitions) variance = t.alpha_bar / t.alpha_bar_next * variance + t.sigma * t.sigma;
  const double start = table.transitions.front().alpha_bar, end = table.transitions.back().alpha_bar_next;
  const double mean = problem.beta * problem.reward.slope.item<double>() * (variance - start / end);
  outcome.values["expected_mean"] = mean;
  outcome.values["expected_variance"] = variance;
  add_check(at_most("mean_error", kTolerance), std::abs(outcome.values.at("mean") - mean), outcome);
  add_check(at_most("variance_error", kTolerance), std::abs(outcome.values.at("variance") - variance), outcome);
}

std::vector<Trial> gaussian_trials() {
  const TruthCase problem = gaussian_case();
  return {{"T0", Expectation::kHold, named(problem, "T0 one Gaussian"), measure_gaussian, true},
          {"T0", Expectation::kBreak, spoilt(problem, "T0 terminal target 0", Tampering::kNoTerminalTarget), measure_gaussian, true},
          {"T0", Expectation::kBreak, spoilt(problem, "T0 reward gradient's sign", Tampering::kRewardSign), measure_gaussian, true},
          {"T0", Expectation::kBreak, spoilt(problem, "T0 reverse target's sign", Tampering::kReverseSign), measure_gaussian, true}};
}

std::vector<Trial> linear_trials() {
  const TruthCase problem = linear_case();
  const Measure measure = law_within(linear_thresholds());
  return {{"T1", Expectation::kHold, named(problem, "T1 two modes, linear reward"), measure, true},
          {"T1", Expectation::kBreak, fl_only(named(problem, "T1")), measure, true},
          {"T1", Expectation::kBreak, release_map(problem, "T1 release's stop-gradient map"), measure},
          {"T1", Expectation::kBreak, spoilt(problem, "T1 terminal target 0", Tampering::kNoTerminalTarget), measure},
          {"T1", Expectation::kBreak, spoilt(problem, "T1 reward gradient's sign", Tampering::kRewardSign), measure},
          {"T1", Expectation::kBreak, spoilt(problem, "T1 reverse target's sign", Tampering::kReverseSign), measure}};
}

std::vector<Trial> quadratic_trials() {
  const TruthCase problem = quadratic_case();
  const Measure measure = law_within(quadratic_thresholds());
  return {{"T2", Expectation::kHold, named(problem, "T2 two modes, quadratic reward"), measure},
          {"T2", Expectation::kBreak, fl_only(named(problem, "T2")), measure},
          {"T2", Expectation::kBreak, release_map(problem, "T2 release's stop-gradient map"), measure}};
}

std::vector<Trial> plane_trials() {
  const TruthCase problem = plane_case();
  const Measure measure = law_within(plane_thresholds());
  return {{"T3", Expectation::kHold, named(problem, "T3 three modes in the plane"), measure},
          {"T3", Expectation::kBreak, fl_only(named(problem, "T3")), measure}};
}

void measure_scores(const TruthCase& problem, Outcome& outcome) {
  const ScoreErrors errors = score_errors(problem);
  outcome.values["score_error_continuous"] = *std::max_element(errors.continuous.begin(), errors.continuous.end());
  add_check(at_most("score_error", 0.1), errors.worst, outcome);
}

// docs/truth.md says why with 200 steps.
std::vector<Trial> score_trials() {
  TruthCase linear = named(linear_case(), "T4 scores of T1"), quadratic = named(quadratic_case(), "T4 scores of T2");
  linear.steps = quadratic.steps = 200;
  return {{"T4", Expectation::kHold, linear, measure_scores},
          {"T4", Expectation::kHold, quadratic, measure_scores},
          {"T4", Expectation::kBreak, fl_only(linear), measure_scores}};
}

std::vector<Trial> strength_trials() {
  const TruthCase problem = half_strength_case();
  TruthCase official = named(problem, "T5 official eta");
  official.strength_mode = StrengthMode::kOfficial;
  const Measure measure = [](const TruthCase& sought, Outcome& outcome) {
    measure_law(sought, {{.metric = "variance", .threshold = 1.8, .floor = {}, .bound = Bound::kAtLeast}}, outcome);
    add_check(at_most("variance_error", 0.2), std::abs(outcome.values.at("variance") - 2.0), outcome);
  };
  return {{"T5", Expectation::kHold, named(problem, "T5 half the prior's strength"), measure},
          {"T5", Expectation::kBreak, official, measure}};
}

using Distances = std::map<std::string, double>;

Distances distances_of(const TruthCase& problem) {
  Experiment experiment(problem);
  experiment.train();
  return measure(experiment).values;
}

// Distances that several trials of one table need, each case trained for once.
class KnownDistances {
 public:
  const Distances& of(TruthCase problem) {
    problem.name.clear();
    const std::string key = fingerprint({"", Expectation::kHold, problem, {}});
    if (!distances_.contains(key)) distances_[key] = distances_of(problem);
    return distances_.at(key);
  }

 private:
  std::map<std::string, Distances> distances_;
};

// A case with stale y: what y's age may change by at most 0.01, and what every law that was learned from it has to hold.
struct StaleCase {
  const char* tier;
  TruthCase problem;
  std::vector<std::string> changing;
  std::vector<Check> thresholds;
};

Check change_of(const std::string& metric) { return at_most("change_of_" + metric, 0.01); }

void measure_staleness(const StaleCase& stale, const TruthCase& problem, KnownDistances& known, Outcome& outcome) {
  const Distances& fresh = known.of(problem);
  Distances changes, worst;
  for (const auto& metric : stale.changing) outcome.values[metric + "_lag_0"] = fresh.at(metric);
  for (const auto& [name, lag] : {std::pair{"2", std::optional<std::int64_t>(2)}, {"8", 8}, {"forever", std::nullopt}}) {
    TruthCase lagging = problem;
    lagging.policy_lag = lag;
    const Distances distances = distances_of(lagging);
    for (const auto& metric : stale.changing) {
      outcome.values[fmt::format("{}_lag_{}", metric, name)] = distances.at(metric);
      changes[metric] = worse(std::abs(distances.at(metric) - fresh.at(metric)), changes[metric]);
    }
    for (const auto& check : stale.thresholds) worst[check.metric] = worse(distances.at(check.metric), worst[check.metric]);
  }
  for (const auto& metric : stale.changing) add_check(change_of(metric), changes[metric], outcome);
  for (const auto& check : stale.thresholds) add_check(at_most("largest_" + check.metric, check.threshold), worst[check.metric], outcome);
}

void measure_fresh_noise(const StaleCase& stale, const TruthCase& problem, KnownDistances& known, Outcome& outcome) {
  TruthCase sound = problem;
  sound.tampering = Tampering::kNone;
  const Distances distances = distances_of(problem);
  for (const auto& metric : stale.changing) {
    outcome.values[metric] = distances.at(metric);
    add_check(change_of(metric), std::abs(distances.at(metric) - known.of(sound).at(metric)), outcome);
  }
}

std::vector<Trial> staleness_trials() {
  const auto known = std::make_shared<KnownDistances>();
  std::vector<Trial> trials;
  for (const auto& stale : {StaleCase{"T1", linear_case(), {"tv"}, linear_thresholds()},
                            StaleCase{"T2", quadratic_case(), {"tv"}, quadratic_thresholds()},
                            StaleCase{"T3", plane_case(), {"tv_weights", "kl_weights"}, plane_thresholds()}}) {
    const Measure aged = [known, stale](const TruthCase& problem, Outcome& outcome) { measure_staleness(stale, problem, *known, outcome); };
    const Measure fresh_noise = [known, stale](const TruthCase& problem, Outcome& outcome) {
      measure_fresh_noise(stale, problem, *known, outcome);
    };
    trials.push_back({"T6", Expectation::kHold, named(stale.problem, fmt::format("T6 stale y on {}", stale.tier)), aged});
    trials.push_back({"T6", Expectation::kBreak,
                      spoilt(stale.problem, fmt::format("T6 fresh-noise y on {}", stale.tier), Tampering::kFreshNoise), fresh_noise});
  }
  return trials;
}

Measure identity_within(MeanJacobian kind) {
  return [kind](const TruthCase& problem, Outcome& outcome) {
    const StepTable table = step_table_of(problem);
    const ReferenceModel reference(problem.prior, table);
    const LineTruth truth(problem, table, reference, 2.0);
    add_check(at_most("relative_error", 1e-4), adjoint_identity_error(truth, problem.steps, kind), outcome);
  };
}

std::vector<Trial> adjoint_trials() {
  std::vector<Trial> trials;
  for (const auto& [tier, problem] : {std::pair{"T1", linear_case()}, {"T2", quadratic_case()}}) {
    const bool quick = problem.name == linear_case().name;
    trials.push_back({"T7", Expectation::kHold, named(problem, fmt::format("T7 adjoint identity on {}", tier)),
                      identity_within(MeanJacobian::kTrue), quick});
    trials.push_back({"T7", Expectation::kBreak, named(problem, fmt::format("T7 identity Jacobian on {}", tier)),
                      identity_within(MeanJacobian::kIdentity), quick});
  }
  return trials;
}

void measure_gradients(const TruthCase& problem, Outcome& outcome) {
  for (const auto& [name, relative] : gradient_errors(problem)) {
    outcome.values["gradient_error " + name] = relative;
    outcome.checks.push_back({.metric = "gradient of " + name, .value = relative, .threshold = 1e-6, .floor = {}});
  }
}

void measure_wrong_map(const TruthCase& problem, Outcome& outcome) {
  add_check(at_most("gradient_error", 1e-6), wrong_map_error(problem), outcome);
}

std::vector<Trial> gradient_trials() {
  return {{"T8", Expectation::kHold, named(linear_case(), "T8 gradients on T1"), measure_gradients, true},
          {"T8", Expectation::kHold, named(plane_case(), "T8 gradients on T3"), measure_gradients, true},
          {"T8", Expectation::kBreak, named(linear_case(), "T8 forward loss counted for phi"), measure_wrong_map, true}};
}

// The network may reach half the distance that it reaches without flow, and no more than half of what tables do.
constexpr double kNetworkBound = 0.126;

void measure_network(const TruthCase& problem, Outcome& outcome) {
  const double control = distances_of(fl_only(problem)).at("tv");
  measure_law(problem, {at_most("tv", std::min(0.5 * control, kNetworkBound))}, outcome);
  outcome.values["fl_only_tv"] = control;
}

std::vector<Trial> network_trials() {
  return {{"TM", Expectation::kHold, named(network_case(), "TM small network on T1"), measure_network},
          {"TM", Expectation::kBreak, fl_only(named(network_case(), "TM small network on T1")), law_within({at_most("tv", kNetworkBound)})}};
}

const std::vector<std::pair<std::string, std::vector<Trial> (*)()>>& tiers() {
  static const std::vector<std::pair<std::string, std::vector<Trial> (*)()>> list{
      {"T0", gaussian_trials}, {"T1", linear_trials},    {"T2", quadratic_trials}, {"T3", plane_trials},    {"T4", score_trials},
      {"T5", strength_trials}, {"T6", staleness_trials}, {"T7", adjoint_trials},   {"T8", gradient_trials}, {"TM", network_trials}};
  return list;
}

}  // namespace

const std::vector<std::string>& tier_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const auto& [name, make] : tiers()) list.push_back(name);
    return list;
  }();
  return names;
}

const std::vector<std::uint64_t>& table_seeds() {
  static const std::vector<std::uint64_t> seeds{1, 2, 3};
  return seeds;
}

std::vector<Trial> trials_of(const std::vector<std::string>& wanted, const std::vector<std::uint64_t>& seeds) {
  std::vector<Trial> trials;
  for (const auto& name : wanted) {
    const auto found = std::find_if(tiers().begin(), tiers().end(), [&](const auto& tier) { return tier.first == name; });
    if (found == tiers().end()) throw usage_error("[truth] there is no tier '{}'; known are {}", name, comma_list(tier_names()));
    for (const auto seed : seeds) {
      for (Trial trial : found->second()) {
        trial.problem.seed = seed;
        trials.push_back(trial);
      }
    }
  }
  return trials;
}

std::vector<Trial> quick_trials(std::uint64_t seed) {
  std::vector<Trial> trials = trials_of(tier_names(), {seed});
  std::erase_if(trials, [](const Trial& trial) { return !trial.quick; });
  return trials;
}

}  // namespace nabla::truth
