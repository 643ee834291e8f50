#include "launch/truth/trial.h"

#include "common/clock.h"
#include "common/digest.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <ctime>

namespace nabla::truth {

namespace {

nlohmann::ordered_json nested(const Tensor& tensor) {
  if (tensor.dim() == 0) return tensor.item<double>();
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (std::int64_t i = 0; i < tensor.size(0); ++i) list.push_back(nested(tensor[i]));
  return list;
}

nlohmann::ordered_json exact_json(const TruthCase& problem, const std::map<std::string, double>& values) {
  const Mixture law = exact_law(problem);
  nlohmann::ordered_json exact{{"weights", nested(law.weights)}, {"means", nested(law.means)}, {"covariances", nested(law.covariances)}};
  if (values.contains("target_mean")) exact["discrete"] = {{"mean", values.at("target_mean")}, {"variance", values.at("target_variance")}};
  return exact;
}

// Of all threads of this process: what a trial costs, however busy the machine is.
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

std::string text_of(const Tensor& tensor) { return nested(tensor).dump(); }

}  // namespace

Outcome run_trial(const Trial& trial) {
  const double start = monotonic_seconds(), cpu_start = cpu_seconds();
  Outcome outcome;
  outcome.tier = trial.tier;
  outcome.name = trial.problem.name;
  outcome.seed = trial.problem.seed;
  outcome.expectation = trial.expectation;
  trial.measure(trial.problem, outcome);
  outcome.seconds = monotonic_seconds() - start;
  outcome.cpu_seconds = cpu_seconds() - cpu_start;
  return outcome;
}

void measure_law(const TruthCase& problem, const std::vector<Check>& thresholds, Outcome& outcome) {
  judge_law(problem, train_and_measure(problem), thresholds, outcome);
}

void judge_law(const TruthCase& problem, const Measurement& measurement, const std::vector<Check>& thresholds, Outcome& outcome) {
  outcome.values = measurement.values;
  for (std::int64_t mode = 0; mode < measurement.weights.numel(); ++mode)
    outcome.values[fmt::format("weight_{}", mode)] = measurement.weights[mode].item<double>();
  outcome.samples = measurement.samples;
  outcome.exact = exact_json(problem, measurement.values);
  for (Check check : thresholds) {
    check.value = measurement.values.at(check.metric);
    const auto floor = measurement.floors.find(check.metric);
    if (floor != measurement.floors.end()) check.floor = floor->second;
    outcome.checks.push_back(check);
  }
}

TruthCase fl_only(TruthCase problem) {
  problem.name += ", FL only";
  problem.flow = false;
  problem.flow_from_forward_loss = false;
  return problem;
}

std::vector<Outcome> run_own_case(const TruthCase& problem) {
  const std::string metric = main_metric(problem);
  const auto trial_of = [&](const TruthCase& own, Expectation expectation, double threshold) {
    return Trial{"own", expectation, own, [metric, threshold](const TruthCase& p, Outcome& outcome) {
                   measure_law(p, {{.metric = metric, .threshold = threshold, .floor = {}}}, outcome);
                 }};
  };
  if (problem.threshold) return {run_trial(trial_of(problem, Expectation::kHold, *problem.threshold))};
  Outcome control = run_trial(trial_of(fl_only(problem), Expectation::kBreak, 0.0));
  const double threshold = 0.5 * control.checks.front().value;
  control.checks.front().threshold = threshold;
  return {run_trial(trial_of(problem, Expectation::kHold, threshold)), control};
}

std::string fingerprint(const Trial& trial) {
  const TruthCase& p = trial.problem;
  std::string text = fmt::format("{}|{}|{}|", trial.tier, p.name, static_cast<int>(trial.expectation));
  for (const Tensor& tensor : {p.prior.weights, p.prior.means, p.prior.covariances, p.reward.center, p.reward.curvature, p.reward.slope})
    text += text_of(tensor) + "|";
  text += fmt::format("{}|{}|{}|{}|{}{}{}|{}|{}|{}|{}|", p.beta, p.steps, static_cast<int>(p.schedule), static_cast<int>(p.gamma), p.flow,
                      p.reverse, p.flow_from_forward_loss, p.pretrained_strength, static_cast<int>(p.strength_mode),
                      static_cast<int>(p.gradient), static_cast<int>(p.learner));
  text += fmt::format("{}|{}|{}|{}|{}|{}|{}", p.threshold.value_or(-1.0), p.training.updates, p.training.batch, p.training.learning_rate,
                      p.seed, p.policy_lag.value_or(-1), static_cast<int>(p.tampering));
  return Digest().update(text).hex();
}

}  // namespace nabla::truth
