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
  outcome.values["mean_error"] = std::abs(outcome.values.at("mean") - mean);
  outcome.values["variance_error"] = std::abs(outcome.values.at("variance") - variance);
  for (const char* metric : {"mean_error", "variance_error"}) {
    Check check = at_most(metric, kTolerance);
    check.value = outcome.values.at(metric);
    check.floor = 0.0;
    outcome.checks.push_back(check);
  }
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
  const Measure measure = law_within({at_most("tv", 0.03)});
  return {{"T1", Expectation::kHold, named(problem, "T1 two modes, linear reward"), measure, true},
          {"T1", Expectation::kBreak, fl_only(named(problem, "T1")), measure, true},
          {"T1", Expectation::kBreak, release_map(problem, "T1 release's stop-gradient map"), measure},
          {"T1", Expectation::kBreak, spoilt(problem, "T1 terminal target 0", Tampering::kNoTerminalTarget), measure},
          {"T1", Expectation::kBreak, spoilt(problem, "T1 reward gradient's sign", Tampering::kRewardSign), measure},
          {"T1", Expectation::kBreak, spoilt(problem, "T1 reverse target's sign", Tampering::kReverseSign), measure}};
}

std::vector<Trial> quadratic_trials() {
  const TruthCase problem = quadratic_case();
  const Measure measure = law_within({at_most("tv", 0.04)});
  return {{"T2", Expectation::kHold, named(problem, "T2 two modes, quadratic reward"), measure},
          {"T2", Expectation::kBreak, fl_only(named(problem, "T2")), measure},
          {"T2", Expectation::kBreak, release_map(problem, "T2 release's stop-gradient map"), measure}};
}

std::vector<Trial> plane_trials() {
  const TruthCase problem = plane_case();
  const Measure measure = law_within({at_most("kl_weights", 0.01), at_most("sliced_w1", 0.12)});
  return {{"T3", Expectation::kHold, named(problem, "T3 three modes in the plane"), measure},
          {"T3", Expectation::kBreak, fl_only(named(problem, "T3")), measure}};
}

void measure_scores(const TruthCase& problem, Outcome& outcome) {
  constexpr double kThreshold = 0.1;
  const ScoreErrors errors = score_errors(problem);
  outcome.values["score_error_continuous"] = *std::max_element(errors.continuous.begin(), errors.continuous.end());
  outcome.values["score_error"] = errors.worst;
  Check check = at_most("score_error", kThreshold);
  check.value = errors.worst;
  check.floor = 0.0;
  outcome.checks.push_back(check);
}

// With 200 steps, because the fixed variance alone makes 11% of T2's best change at 50.
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
  const Measure measure = law_within({{.metric = "variance", .threshold = 1.8, .floor = {}, .bound = Bound::kAtLeast}});
  return {{"T5", Expectation::kHold, named(problem, "T5 half the prior's strength"), measure},
          {"T5", Expectation::kBreak, official, measure}};
}

double distance_of(const TruthCase& problem) {
  Experiment experiment(problem);
  experiment.train();
  return measure(experiment).values.at(main_metric(problem));
}

void add_change(const std::string& metric, double change, Outcome& outcome) {
  constexpr double kThreshold = 0.01;
  Check check = at_most("change_of_" + metric, kThreshold);
  check.value = change;
  check.floor = 0.003;
  outcome.values[check.metric] = change;
  outcome.checks.push_back(check);
}

// Distances that several trials of one table need, each trained for once.
class KnownDistances {
 public:
  double of(TruthCase problem) {
    problem.name.clear();
    const std::string key = fingerprint({"", Expectation::kHold, problem, {}});
    if (!distances_.contains(key)) distances_[key] = distance_of(problem);
    return distances_.at(key);
  }

 private:
  std::map<std::string, double> distances_;
};

void measure_staleness(const TruthCase& problem, KnownDistances& known, Outcome& outcome) {
  const std::string metric = main_metric(problem);
  const double fresh = known.of(problem);
  outcome.values[metric + "_lag_0"] = fresh;
  double change = 0.0;
  for (const auto& [name, lag] : {std::pair{"2", std::optional<std::int64_t>(2)}, {"8", 8}, {"forever", std::nullopt}}) {
    TruthCase stale = problem;
    stale.policy_lag = lag;
    const double distance = distance_of(stale);
    outcome.values[fmt::format("{}_lag_{}", metric, name)] = distance;
    change = worse(std::abs(distance - fresh), change);
  }
  add_change(metric, change, outcome);
}

void measure_fresh_noise(const TruthCase& problem, KnownDistances& known, Outcome& outcome) {
  TruthCase sound = problem;
  sound.tampering = Tampering::kNone;
  const double distance = distance_of(problem);
  outcome.values[main_metric(problem)] = distance;
  add_change(main_metric(problem), std::abs(distance - known.of(sound)), outcome);
}

std::vector<Trial> staleness_trials() {
  const auto known = std::make_shared<KnownDistances>();
  const Measure stale = [known](const TruthCase& problem, Outcome& outcome) { measure_staleness(problem, *known, outcome); };
  const Measure fresh_noise = [known](const TruthCase& problem, Outcome& outcome) { measure_fresh_noise(problem, *known, outcome); };
  std::vector<Trial> trials;
  for (const auto& [tier, problem] : {std::pair{"T1", linear_case()}, {"T2", quadratic_case()}, {"T3", plane_case()}}) {
    trials.push_back({"T6", Expectation::kHold, named(problem, fmt::format("T6 stale y on {}", tier)), stale});
    trials.push_back(
        {"T6", Expectation::kBreak, spoilt(problem, fmt::format("T6 fresh-noise y on {}", tier), Tampering::kFreshNoise), fresh_noise});
  }
  return trials;
}

Measure identity_within(MeanJacobian kind) {
  return [kind](const TruthCase& problem, Outcome& outcome) {
    const StepTable table = step_table_of(problem);
    const ReferenceModel reference(problem.prior, table);
    const LineTruth truth(problem, table, reference, 2.0);
    Check check = at_most("relative_error", 1e-4);
    check.value = adjoint_identity_error(truth, problem.steps, kind);
    check.floor = 1e-6;
    outcome.values["relative_error"] = check.value;
    outcome.checks.push_back(check);
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
  const double relative = wrong_map_error(problem);
  outcome.values["gradient_error"] = relative;
  outcome.checks.push_back({.metric = "gradient_error", .value = relative, .threshold = 1e-6, .floor = {}});
}

std::vector<Trial> gradient_trials() {
  return {{"T8", Expectation::kHold, named(linear_case(), "T8 gradients on T1"), measure_gradients, true},
          {"T8", Expectation::kHold, named(plane_case(), "T8 gradients on T3"), measure_gradients, true},
          {"T8", Expectation::kBreak, named(linear_case(), "T8 forward loss counted for phi"), measure_wrong_map, true}};
}

// The network may reach half the distance that it reaches without flow.
void measure_network(const TruthCase& problem, Outcome& outcome) {
  const double control = distance_of(fl_only(problem));
  measure_law(problem, {at_most("tv", 0.5 * control)}, outcome);
  outcome.values["fl_only_tv"] = control;
}

std::vector<Trial> network_trials() {
  return {{"TM", Expectation::kHold, named(network_case(), "TM small network on T1"), measure_network}};
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
