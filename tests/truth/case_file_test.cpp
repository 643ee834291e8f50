#include "launch/truth/case_file.h"
#include "common/error.h"
#include "tests/testing.h"

#include <string>

using namespace nabla;
using namespace nabla::truth;

namespace {

const std::string kCase = R"(name: my two modes
prior: {weights: [0.5, 0.5], means: [[-1.5], [1.5]], covariances: [[[0.09]], [[0.09]]]}
reward: {center: [0.0], curvature: [[0.0]], slope: [-1.0]}
beta: 0.7
steps: 50
schedule: sd15
gamma: linear
objective: {flow: true, reverse: true, gradient: policy_fl, flow_from_forward_loss: true}
learner: mlp
threshold: 0.03
training: {updates: 30, batch: 12, learning_rate: 2.0e-3}
seed: 7
)";

std::string changed(const std::string& from, const std::string& to, std::string text = kCase) {
  return text.replace(text.find(from), from.size(), to);
}

std::string many(const std::string& item, int count) {
  std::string list = item;
  for (int i = 1; i < count; ++i) list.append(", ").append(item);
  return list;
}

void check_refused(const std::string& yaml, const std::vector<std::string>& parts) {
  try {
    parse_case(yaml, "case.yaml");
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kUsage);
    const std::string message = error.what();
    INFO(message);
    for (const auto& part : parts) CHECK(message.find(part) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("a case file's every key is read") {
  const TruthCase problem = parse_case(kCase, "case.yaml");
  CHECK(problem.name == "my two modes");
  CHECK(problem.dimensions() == 1);
  CHECK(problem.prior.means[0][0].item<double>() == -1.5);
  CHECK(problem.prior.covariances[1][0][0].item<double>() == 0.09);
  CHECK(problem.reward.slope[0].item<double>() == -1.0);
  CHECK(problem.beta == 0.7);
  CHECK(problem.gamma == RewardGamma::kLinear);
  CHECK(problem.gradient == GradientKind::kPolicyFl);
  CHECK(problem.flow_from_forward_loss);
  CHECK(problem.learner == LearnerKind::kMlp);
  CHECK(problem.threshold == 0.03);
  CHECK(problem.training.updates == 30);
  CHECK(problem.training.learning_rate == 2e-3);
  CHECK(problem.seed == 7);
}

TEST_CASE("weights are normalised and absent keys keep their defaults") {
  const TruthCase problem = parse_case(
      "prior: {weights: [1, 3], means: [[0, 1], [1, 0]], covariances: [[[1, 0], [0, 1]], [[1, 0.2], [0.2, 1]]]}\nreward: {slope: [1, 0]}\n",
      "case.yaml");
  CHECK(problem.prior.weights[1].item<double>() == 0.75);
  CHECK(problem.dimensions() == 2);
  CHECK(problem.reward.curvature.abs().max().item<double>() == 0.0);
  CHECK(problem.steps == 50);
  CHECK(problem.flow);
  CHECK_FALSE(problem.threshold.has_value());
}

TEST_CASE("what does not fit is refused with its place and what was expected") {
  check_refused(changed("beta:", "betta:"), {"case.yaml:4:1", "no key 'betta'", "beta"});
  check_refused(changed("steps: 50", "steps: fifty"), {"case.yaml:5:8", "'steps' takes a whole number from 2 to 1000"});
  check_refused(changed("schedule: sd15", "schedule: cosine"), {"'schedule' takes one of", "log_snr_uniform"});
  check_refused(changed("gradient: policy_fl", "gradient: terminal"), {"'objective.gradient' takes one of", "reference_fl"});
  check_refused(changed("[[-1.5], [1.5]]", "[[-1.5]]"), {"'prior.means' takes a list of means, one a mode"});
  check_refused(changed("[[[0.09]], [[0.09]]]", "[[[0.09]], [[-0.09]]]"), {"'prior.covariances' takes symmetric positive definite"});
  check_refused(changed("[[-1.5], [1.5]]", "[[-1.5], [1.0e6]]"), {"case.yaml: the prior reaches to", "at most 100"});
  check_refused(changed("[[[0.09]], [[0.09]]]", "[[[0.09]], [[1.0e4]]]"), {"case.yaml: the prior reaches to 701.5"});
  check_refused(changed("slope: [-1.0]", "slope: [-1.0e6]"), {"case.yaml: the law that is asked for reaches to"});
  check_refused(changed("[0.5, 0.5]", fmt::format("[{}]", many("1", 33))), {"'prior.weights' has 33 modes; at most 32"});
  check_refused(changed("curvature: [[0.0]]", "curvature: [[-1.0]]"), {"'reward.curvature'", "without negative eigenvalues"});
  check_refused(changed("slope: [-1.0]", "slope: [-1.0, 2.0]"), {"'reward.slope' takes a vector"});
  check_refused(changed("slope: [-1.0]", "slope: [.nan]"), {"'reward.slope' takes a number"});
  check_refused(changed("flow: true", "flow: maybe"), {"'objective.flow' takes true or false"});
  check_refused(changed("beta: 0.7", "beta: 0.7\nbeta: 0.8"), {"'beta' is given twice"});
  check_refused(changed("beta: 0.7", "beta: 0"), {"case.yaml:4:7", "'beta' takes a positive number"});
  check_refused(changed("threshold: 0.03", "threshold: 0"), {"'threshold' takes a positive number"});
  check_refused(changed("steps: 50", "steps: 1000"), {"case.yaml: 'steps' fits no table", "take fewer steps"});
  check_refused(changed("my two modes", "my two \xff modes"), {"case.yaml: a case file is text in UTF-8"});
  check_refused("beta: 1\n", {"'prior' is missing"});
  check_refused("- 1\n", {"a case is a mapping"});
  check_refused("prior: {weights: [\n", {"case.yaml:"});
}

TEST_CASE("a case whose FL-only control gives no threshold has to name one") {
  const std::string no_flow = changed("flow: true", "flow: false");
  CHECK_FALSE(parse_case(no_flow, "case.yaml").flow);
  check_refused(changed("threshold: 0.03\n", "", no_flow), {"case.yaml: 'objective.flow' is false", "give 'threshold'"});
  check_refused("prior: {weights: [1], means: [[0]], covariances: [[[1]]]}\nreward: {center: [3]}\n",
                {"case.yaml: the reward is constant", "give 'threshold'"});
}

TEST_CASE("modes of the plane between which the finest table has no node are refused, unless a network learns") {
  const std::string near =
      "prior: {weights: [1, 1], means: [[-2, 0], [2, 0]], covariances: [[[0.09, 0], [0, 0.09]], [[0.09, 0], [0, 0.09]]]}\n"
      "reward: {slope: [-1, 0]}\n";
  CHECK(parse_case(near, "case.yaml").dimensions() == 2);
  const std::string far = changed("[2, 0]", "[50, 0]", near), thin = changed("[[0.09, 0], [0, 0.09]]", "[[1.0e-4, 0], [0, 1.0e-4]]", near);
  CHECK(parse_case(far + "learner: mlp\n", "case.yaml").learner == LearnerKind::kMlp);
  for (const std::string& text : {far, thin})
    check_refused(text, {"case.yaml: the modes are too thin", "nodes an axis", "where 128 is the most"});
}
