#include "launch/truth/case_file.h"

#include "common/diffusion/unicode_text.h"
#include "common/error.h"
#include "common/files.h"
#include "common/nearest.h"
#include "launch/truth/table_training.h"

#include <torch/types.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

namespace nabla::truth {

namespace {

constexpr std::size_t kMaxFile = std::size_t{1} << 20;
constexpr std::int64_t kMaxSteps = 1000, kMaxModes = 32;
// Of the laws, from 0: a grid has some fifty points a unit of length, or more, and as many states to train on.
constexpr double kMaxReach = 100.0;

// A mapping of known keys and the place it stands at. Each get_ reads one key into a value that keeps its default when the key is absent.
class Section {
 public:
  Section(const YAML::Node& node, std::string source, std::string prefix)
      : node_(node), source_(std::move(source)), prefix_(std::move(prefix)) {
    if (!node_.IsMap()) refuse(node_, fmt::format("{} is a mapping of keys to values", prefix_.empty() ? "a case" : "'" + prefix_ + "'"));
  }

  bool has(const std::string& key) {
    asked_.push_back(key);
    return static_cast<bool>(node_[key]);
  }
  Section section(const std::string& key) {
    require(key, "a mapping");
    return {node_[key], source_, prefix_ + key + "."};
  }
  void get_text(const std::string& key, std::string& value) {
    if (has(key)) value = node_[key].IsScalar() ? node_[key].Scalar() : refuse_value(key, "a text");
  }
  void get_number(const std::string& key, double& value) {
    if (has(key)) value = number(node_[key], key);
  }
  void get_flag(const std::string& key, bool& value) {
    if (!has(key)) return;
    if (!YAML::convert<bool>::decode(node_[key], value)) refuse_value(key, "true or false");
  }
  void get_count(const std::string& key, std::int64_t lowest, std::int64_t highest, std::int64_t& value) {
    if (!has(key)) return;
    if (!YAML::convert<std::int64_t>::decode(node_[key], value) || value < lowest || value > highest)
      refuse_value(key, fmt::format("a whole number from {} to {}", lowest, highest).c_str());
  }
  template <class Value>
  void get_choice(const std::string& key, const std::vector<std::pair<std::string, Value>>& choices, Value& value) {
    if (!has(key)) return;
    std::vector<std::string> names;
    for (const auto& [name, choice] : choices) {
      names.push_back(name);
      if (!node_[key].IsScalar() || node_[key].Scalar() != name) continue;
      value = choice;
      return;
    }
    refuse_value(key, ("one of " + comma_list(names)).c_str());
  }
  // Nested lists of numbers of this shape; -1 stands for any size.
  Tensor tensor(const std::string& key, const std::vector<std::int64_t>& shape, const char* meaning) {
    require(key, meaning);
    std::vector<double> values;
    std::vector<std::int64_t> found(shape.size(), -1);
    collect(node_[key], key, 0, found, values, meaning);
    for (std::size_t i = 0; i < shape.size(); ++i)
      if (shape[i] >= 0 && found[i] != shape[i]) refuse_value(key, meaning);
    return torch::tensor(values, at::kDouble).view(found);
  }
  // Every key of the file has been asked for.
  void finish() const {
    std::set<std::string> seen;
    for (const auto& entry : node_) {
      const std::string key = entry.first.Scalar();
      if (!seen.insert(key).second) refuse(entry.first, fmt::format("'{}{}' is given twice", prefix_, key));
      if (std::find(asked_.begin(), asked_.end(), key) == asked_.end())
        refuse(entry.first, fmt::format("there is no key '{}{}'; known are {}", prefix_, key, comma_list(asked_)));
    }
  }
  [[noreturn]] void refuse_key(const std::string& key, const std::string& why) const {
    refuse(node_[key], fmt::format("'{}{}' {}", prefix_, key, why));
  }

 private:
  void require(const std::string& key, const char* meaning) {
    if (!has(key)) refuse(node_, fmt::format("'{}{}' is missing; {} is expected", prefix_, key, meaning));
  }
  double number(const YAML::Node& node, const std::string& key) const {
    double value = 0.0;
    if (!node.IsScalar() || !YAML::convert<double>::decode(node, value) || !std::isfinite(value)) refuse_value(key, "a number");
    return value;
  }
  void collect(const YAML::Node& node, const std::string& key, std::size_t depth, std::vector<std::int64_t>& found,
               std::vector<double>& values, const char* meaning) const {
    if (depth == found.size()) {
      values.push_back(number(node, key));
      return;
    }
    const auto size = static_cast<std::int64_t>(node.size());
    if (!node.IsSequence() || size == 0 || (found[depth] >= 0 && found[depth] != size)) refuse_value(key, meaning);
    found[depth] = size;
    for (const auto& item : node) collect(item, key, depth + 1, found, values, meaning);
  }
  [[noreturn]] std::string refuse_value(const std::string& key, const char* expected) const {
    refuse(node_[key], fmt::format("'{}{}' takes {}", prefix_, key, expected));
  }
  [[noreturn]] void refuse(const YAML::Node& node, const std::string& why) const {
    throw usage_error("{}:{}:{}: {}", source_, node.Mark().line + 1, node.Mark().column + 1, why);
  }

  YAML::Node node_;
  std::string source_, prefix_;
  std::vector<std::string> asked_;
};

bool is_positive_definite(const Tensor& matrices) {
  return (at::linalg_eigvalsh(matrices) > 0.0).all().item<bool>() && at::allclose(matrices, matrices.transpose(-2, -1));
}

Mixture read_prior(Section section) {
  Mixture prior;
  prior.weights = section.tensor("weights", {-1}, "a list of positive numbers, one a mode");
  if (!(prior.weights > 0.0).all().item<bool>()) section.refuse_key("weights", "takes positive numbers");
  prior.weights = prior.weights / prior.weights.sum();
  const std::int64_t modes = prior.weights.size(0);
  if (modes > kMaxModes) section.refuse_key("weights", fmt::format("has {} modes; at most {} are possible", modes, kMaxModes));
  prior.means = section.tensor("means", {modes, -1}, "a list of means, one a mode, each of one or two numbers");
  const std::int64_t d = prior.means.size(1);
  if (d > 2) section.refuse_key("means", fmt::format("has {} dimensions; one or two are possible", d));
  prior.covariances = section.tensor("covariances", {modes, d, d}, "a list of square matrices, one a mode, as wide as the means");
  if (!is_positive_definite(prior.covariances)) section.refuse_key("covariances", "takes symmetric positive definite matrices");
  section.finish();
  return prior;
}

QuadraticReward read_reward(Section section, std::int64_t d) {
  QuadraticReward reward{at::zeros({d}, at::kDouble), at::zeros({d, d}, at::kDouble), at::zeros({d}, at::kDouble)};
  if (section.has("center")) reward.center = section.tensor("center", {d}, "a point of the prior's dimensions");
  if (section.has("curvature")) reward.curvature = section.tensor("curvature", {d, d}, "a square matrix of the prior's dimensions");
  if (section.has("slope")) reward.slope = section.tensor("slope", {d}, "a vector of the prior's dimensions");
  if (!is_positive_definite(reward.curvature + 1e-9 * at::eye(d, at::kDouble)))
    section.refuse_key("curvature", "takes a symmetric matrix without negative eigenvalues");
  section.finish();
  return reward;
}

void read_objective(Section section, TruthCase& problem) {
  section.get_flag("flow", problem.flow);
  section.get_flag("reverse", problem.reverse);
  section.get_choice<GradientKind>("gradient", {{"reference_fl", GradientKind::kReferenceFl}, {"policy_fl", GradientKind::kPolicyFl}},
                                   problem.gradient);
  section.get_flag("flow_from_forward_loss", problem.flow_from_forward_loss);
  section.finish();
}

void read_training(Section section, MlpSettings& training) {
  section.get_count("updates", 1, 1'000'000, training.updates);
  section.get_count("batch", 6, 65536, training.batch);
  section.get_number("learning_rate", training.learning_rate);
  if (training.learning_rate <= 0.0) section.refuse_key("learning_rate", "takes a positive number");
  section.finish();
}

TruthCase read_case(Section root) {
  TruthCase problem;
  root.get_text("name", problem.name);
  problem.prior = read_prior(root.section("prior"));
  problem.reward = read_reward(root.section("reward"), problem.dimensions());
  root.get_number("beta", problem.beta);
  if (problem.beta <= 0.0) root.refuse_key("beta", "takes a positive number");
  root.get_count("steps", 2, kMaxSteps, problem.steps);
  root.get_choice<Schedule>("schedule", {{"sd15", Schedule::kSd15}, {"log_snr_uniform", Schedule::kLogSnrUniform}}, problem.schedule);
  root.get_choice<RewardGamma>("gamma", {{"squared", RewardGamma::kSquared}, {"linear", RewardGamma::kLinear}, {"one", RewardGamma::kOne}},
                               problem.gamma);
  if (root.has("objective")) read_objective(root.section("objective"), problem);
  root.get_choice<LearnerKind>("learner", {{"tabular", LearnerKind::kTabular}, {"mlp", LearnerKind::kMlp}}, problem.learner);
  if (root.has("threshold")) {
    problem.threshold = 0.0;
    root.get_number("threshold", *problem.threshold);
    if (*problem.threshold <= 0.0) root.refuse_key("threshold", "takes a positive number");
  }
  if (root.has("training")) read_training(root.section("training"), problem.training);
  std::int64_t seed = 1;
  root.get_count("seed", 0, std::int64_t{1} << 53, seed);
  problem.seed = static_cast<std::uint64_t>(seed);
  root.finish();
  return problem;
}

// What makes half the FL-only control's distance no threshold.
void require_threshold(const TruthCase& problem, const std::string& source) {
  if (problem.threshold) return;
  const bool constant =
      problem.reward.slope.count_nonzero().item<std::int64_t>() + problem.reward.curvature.count_nonzero().item<std::int64_t>() == 0;
  if (constant) throw usage_error("{}: the reward is constant, so FL only has no distance to take half of; give 'threshold'", source);
  if (!problem.flow) throw usage_error("{}: 'objective.flow' is false, so the case is its own FL-only control; give 'threshold'", source);
}

void require_reach(const TruthCase& problem, const std::string& source) {
  for (const auto& [which, law] : {std::pair{"prior", problem.prior}, {"law that is asked for", exact_law(problem)}}) {
    const double reach = (law.means.abs() + 7.0 * law.covariances.diagonal(0, 1, 2).sqrt()).max().item<double>();
    if (reach <= kMaxReach) continue;
    throw usage_error(
        "{}: the {} reaches to {:.4g}, seven deviations from its furthest mean; at most {} is possible: scale the problem down", source,
        which, reach, kMaxReach);
  }
}

// The steps' coefficients and, of a tabular learner, what it learns into.
void require_tables(const TruthCase& problem, const std::string& source) {
  StepTable table;
  try {
    table = step_table_of(problem);
  } catch (const Error& error) {
    throw usage_error("{}: 'steps' fits no table: {}", source, error.what());
  }
  if (problem.learner != LearnerKind::kTabular) return;
  try {
    axes_of(problem, table);
  } catch (const Error& error) {
    throw usage_error("{}: {}", source, error.what());
  }
}

}  // namespace

TruthCase parse_case(const std::string& yaml, const std::string& source) {
  try {
    decode_utf8(yaml);
  } catch (const Error&) {
    throw usage_error("{}: a case file is text in UTF-8", source);
  }
  TruthCase problem;
  try {
    problem = read_case({YAML::Load(yaml), source, ""});
  } catch (const YAML::Exception& error) {
    throw usage_error("{}:{}:{}: {}", source, error.mark.line + 1, error.mark.column + 1, error.msg);
  }
  require_threshold(problem, source);
  require_reach(problem, source);
  require_tables(problem, source);
  return problem;
}

TruthCase read_case_file(const std::string& path) {
  if (!std::filesystem::is_regular_file(path)) throw usage_error("[truth] there is no case file '{}'", path);
  const auto size = std::filesystem::file_size(path);
  if (size > kMaxFile) throw usage_error("[truth] case file '{}' has {} bytes; at most {} are read", path, size, kMaxFile);
  return parse_case(read_file(path, kMaxFile), path);
}

}  // namespace nabla::truth
