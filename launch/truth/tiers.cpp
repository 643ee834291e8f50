#include "launch/truth/tiers.h"

#include "common/error.h"
#include "common/nearest.h"
#include "launch/truth/staleness.h"
#include "launch/truth/tier_cases.h"
#include "launch/truth/tier_measures.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace nabla::truth {

namespace {

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

TruthCase in_steps(TruthCase problem, std::int64_t steps) {
  problem.steps = steps;
  return problem;
}

std::vector<Check> linear_thresholds() { return {at_most("tv", 0.03)}; }
std::vector<Check> quadratic_thresholds() { return {at_most("tv", 0.04)}; }
std::vector<Check> plane_thresholds() { return {at_most("kl_weights", 0.01), at_most("sliced_w1", 0.12)}; }

std::vector<Trial> gaussian_trials(const Known& known) {
  const TruthCase problem = gaussian_case(), network = named(gaussian_network_case(), "T0 small network");
  const Measure measure = gaussian_within(known, 1e-4), measure_network = gaussian_within_share(known, 0.02);
  return {{"T0", Expectation::kHold, named(problem, "T0 one Gaussian"), measure, true},
          {"T0", Expectation::kBreak, spoilt(problem, "T0 terminal target 0", Tampering::kNoTerminalTarget), measure, true},
          {"T0", Expectation::kBreak, spoilt(problem, "T0 reward gradient's sign", Tampering::kRewardSign), measure, true},
          {"T0", Expectation::kBreak, spoilt(problem, "T0 reverse target's sign", Tampering::kReverseSign), measure, true},
          {"T0", Expectation::kHold, network, measure_network},
          {"T0", Expectation::kBreak, fl_only(network), measure_network}};
}

std::vector<Trial> linear_trials(const Known& known) {
  const TruthCase problem = linear_case();
  const Measure measure = law_within(known, linear_thresholds());
  return {{"T1", Expectation::kHold, named(problem, "T1 two modes, linear reward"), measure, true},
          {"T1", Expectation::kBreak, fl_only(named(problem, "T1")), measure, true},
          {"T1", Expectation::kBreak, release_map(problem, "T1 release's stop-gradient map"), measure},
          {"T1", Expectation::kBreak, spoilt(problem, "T1 terminal target 0", Tampering::kNoTerminalTarget), measure},
          {"T1", Expectation::kBreak, spoilt(problem, "T1 reward gradient's sign", Tampering::kRewardSign), measure},
          {"T1", Expectation::kBreak, spoilt(problem, "T1 reverse target's sign", Tampering::kReverseSign), measure}};
}

std::vector<Trial> quadratic_trials(const Known& known) {
  const TruthCase problem = quadratic_case();
  const Measure measure = law_within(known, quadratic_thresholds());
  return {{"T2", Expectation::kHold, named(problem, "T2 two modes, quadratic reward"), measure},
          {"T2", Expectation::kBreak, fl_only(named(problem, "T2")), measure},
          {"T2", Expectation::kBreak, release_map(problem, "T2 release's stop-gradient map"), measure}};
}

std::vector<Trial> plane_trials(const Known& known) {
  const TruthCase problem = plane_case();
  const Measure measure = law_within(known, plane_thresholds());
  return {{"T3", Expectation::kHold, named(problem, "T3 three modes in the plane"), measure},
          {"T3", Expectation::kBreak, fl_only(named(problem, "T3")), measure}};
}

// docs/truth.md says why with 200 steps.
std::vector<Trial> score_trials(const Known&) {
  constexpr std::int64_t kSteps = 200;
  const TruthCase linear = named(in_steps(linear_case(), kSteps), "T4 scores of T1");
  const TruthCase plane = named(in_steps(plane_case(), kSteps), "T4 scores of T3");
  return {{"T4", Expectation::kHold, linear, measure_scores},
          {"T4", Expectation::kHold, named(in_steps(quadratic_case(), kSteps), "T4 scores of T2"), measure_scores},
          {"T4", Expectation::kHold, plane, measure_scores},
          {"T4", Expectation::kHold, named(linear_case(), "T4 scores of T1 at 50 steps"), measure_scores},
          {"T4", Expectation::kBreak, fl_only(linear), measure_scores},
          {"T4", Expectation::kBreak, fl_only(plane), measure_scores}};
}

std::vector<Trial> strength_trials(const Known& known) {
  const TruthCase problem = half_strength_case();
  TruthCase official = named(problem, "T5 official eta");
  official.strength_mode = StrengthMode::kOfficial;
  return {{"T5", Expectation::kHold, named(problem, "T5 half the prior's strength"), half_strength_variance(known)},
          {"T5", Expectation::kBreak, official, half_strength_variance(known)}};
}

std::vector<Trial> staleness_trials(const Known& known) {
  std::vector<Trial> trials;
  for (const auto& stale :
       {StaleCase{"T1", linear_case(), {"tv"}, linear_thresholds()}, StaleCase{"T2", quadratic_case(), {"tv"}, quadratic_thresholds()},
        StaleCase{"T3", plane_case(), {"tv_weights", "kl_weights"}, plane_thresholds()}}) {
    trials.push_back({"T6", Expectation::kHold, named(stale.problem, fmt::format("T6 stale y on {}", stale.tier)), stale_y(known, stale)});
    trials.push_back({"T6", Expectation::kBreak,
                      spoilt(stale.problem, fmt::format("T6 fresh-noise y on {}", stale.tier), Tampering::kFreshNoise),
                      fresh_noise_y(known, stale)});
  }
  return trials;
}

std::vector<Trial> adjoint_trials(const Known&) {
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

std::vector<Trial> gradient_trials(const Known&) {
  return {{"T8", Expectation::kHold, named(linear_case(), "T8 gradients on T1"), measure_gradients, true},
          {"T8", Expectation::kHold, named(plane_case(), "T8 gradients on T3"), measure_gradients, true},
          {"T8", Expectation::kBreak, named(linear_case(), "T8 forward loss counted for phi"), stopped_gradient_counted(0), true},
          {"T8", Expectation::kBreak, named(linear_case(), "T8 reverse loss counted for theta"), stopped_gradient_counted(1), true},
          {"T8", Expectation::kBreak, named(linear_case(), "T8 reward's move counted for theta"), measure_moving_reward, true}};
}

// The network may reach half the distance that it reaches without flow, and no more than half of what tables do.
constexpr double kNetworkBound = 0.126;

std::vector<Trial> network_trials(const Known& known) {
  const TruthCase problem = named(network_case(), "TM small network on T1");
  const Measure measure = [known](const TruthCase& sought, Outcome& outcome) {
    const double control = known->of(fl_only(sought)).values.at("tv");
    judge_law(sought, known->of(sought), {at_most("tv", std::min(0.5 * control, kNetworkBound))}, outcome);
    outcome.values["fl_only_tv"] = control;
  };
  return {{"TM", Expectation::kHold, problem, measure},
          {"TM", Expectation::kBreak, fl_only(problem), law_within(known, {at_most("tv", kNetworkBound)})}};
}

using MakeTrials = std::vector<Trial> (*)(const Known&);

const std::vector<std::pair<std::string, MakeTrials>>& tiers() {
  static const std::vector<std::pair<std::string, MakeTrials>> list{
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
  const Known known = std::make_shared<KnownMeasurements>();
  std::vector<Trial> trials;
  for (const auto& name : wanted) {
    const auto found = std::find_if(tiers().begin(), tiers().end(), [&](const auto& tier) { return tier.first == name; });
    if (found == tiers().end()) throw usage_error("[truth] there is no tier '{}'; known are {}", name, comma_list(tier_names()));
    for (const auto seed : seeds) {
      for (Trial trial : found->second(known)) {
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
