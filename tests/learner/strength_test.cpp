#include "common/diffusion/transition_kernel.h"
#include "learner/losses/objective.h"
#include "tests/testing.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <array>
#include <cmath>
#include <functional>
#include <vector>

using namespace nabla;

// pretrained_strength on the Gaussian case of docs/objectives.md: prior N(0,1), log R = v x, beta v = 0.8, eta = 0.5; the truth is N(1.6, 2.0). Policy
// and flow are affine at every level, which is all that this case needs, and expectations are exact (Gauss-Hermite), so the production losses'
// fixed point is the recursion below to rounding.

namespace {

constexpr double kRewardTilt = 0.8, kStrength = 0.5;

StepTable sampler_table(std::int64_t steps) {
  SchedulerConfig config{.beta_start = 0.00085, .beta_end = 0.012, .beta_schedule = "scaled_linear", .steps_offset = 1};
  config.set_alpha_to_one = config.clip_sample = false;
  return make_step_table(config, Sampler::kDdim, steps, 1.0);
}

struct AffineMap {
  double shift = 0.0, slope = 0.0;
};

struct FinalLaw {
  double mean = 0.0, variance = 1.0;
};

FinalLaw law_after(const std::vector<Transition>& transitions, const std::vector<AffineMap>& means) {
  FinalLaw law;
  for (std::size_t step = 0; step < transitions.size(); ++step) {
    const double noise = transitions[step].sigma * transitions[step].sigma;
    law = {means[step].slope * law.mean + means[step].shift, means[step].slope * means[step].slope * law.variance + noise};
  }
  return law;
}

// The exact learner on paper: detailed balance of each transition in expectation, from the last to the first.
//   (mu - mu#)/sigma^2 = s~(mu) + (1 - eta) (mu - sqrt(b) x-hat)/(1 - b),   s~(x) = eta J# (mu - mu#)/sigma^2 - (1 - eta) (x - sqrt(alpha) mu)/(1 - alpha)
FinalLaw exact_law(const StepTable& table, double eta) {
  const auto& transitions = table.transitions;
  std::vector<AffineMap> means(transitions.size());
  AffineMap flow{kRewardTilt, 0.0};
  for (std::size_t step = transitions.size(); step-- > 0;) {
    const double a = transitions[step].alpha_bar, b = transitions[step].alpha_bar_next, alpha = a / b, root = std::sqrt(alpha);
    const double variance = (1 - b) * (1 - alpha) / (1 - a), rest = (1 - eta) / (1 - b);
    const double divisor = 1 - variance * (flow.slope + rest);
    means[step] = {variance * flow.shift / divisor, (root - variance * rest * std::sqrt(a * b)) / divisor};
    const auto& [shift, slope] = means[step];
    flow = {eta * root * shift / variance + (1 - eta) * root * shift / (1 - alpha),
            eta * root * (slope - root) / variance - (1 - eta) * (1 - root * slope) / (1 - alpha)};
  }
  return law_after(transitions, means);
}

// The parameters [2] at which a loss that is quadratic in them is least.
Tensor minimum_of(const std::function<Tensor(const Tensor&)>& loss) {
  const auto gradient_at = [&](double first, double second) {
    const Tensor at = torch::tensor({first, second}, at::kDouble).requires_grad_(true);
    return torch::autograd::grad({loss(at)}, {at})[0];
  };
  const Tensor start = gradient_at(0, 0);
  const Tensor hessian = at::stack({gradient_at(1, 0) - start, gradient_at(0, 1) - start}, 1);
  return -at::linalg_solve(hessian, start);
}

Tensor affine(const Tensor& parameters, const Tensor& x) { return parameters[0] + parameters[1] * x; }

// The production losses on this case: levels from the last to the first, the policy by the forward loss and the flow by the reverse loss.
class GaussianTraining {
 public:
  GaussianTraining(const StepTable& table, const ObjectiveConfig& config)
      : table_(table), objective_(make_objective(config)), flow_(torch::tensor({kRewardTilt, 0.0}, at::kDouble)) {}

  FinalLaw train() {
    std::vector<AffineMap> means(table_.transitions.size());
    for (std::size_t step = table_.transitions.size(); step-- > 0;) {
      const Tensor policy = on_policy_minimum(step);
      const TransitionBatch batch = rows(step, policy);
      const Tensor later = flow_;
      flow_ = minimum_of([&](const Tensor& own) { return loss(batch, policy, later, own); });
      const Transition& transition = table_.transitions[step];
      const double eps_slope = std::sqrt(1 - transition.alpha_bar) + policy[1].item<double>();
      means[step] = {-transition.noise_coefficient * policy[0].item<double>(),
                     transition.x_coefficient - transition.noise_coefficient * eps_slope};
    }
    return law_after(table_.transitions, means);
  }

 private:
  // The minimiser moves with the policy that draws y, and is affine in it: two steps tell where it stays.
  Tensor on_policy_minimum(std::size_t step) {
    const auto next = [&](const Tensor& policy) {
      const TransitionBatch batch = rows(step, policy);
      return minimum_of([&](const Tensor& own) { return loss(batch, own, flow_, flow_); });
    };
    const Tensor first = next(at::zeros({2}, at::kDouble)), second = next(first);
    const Tensor rate = ((second - first) * first).sum() / first.square().sum();
    return first / (1.0 - rate);
  }

  // Two states x, three points of y each with their weights.
  TransitionBatch rows(std::size_t step, const Tensor& policy) const {
    const Transition& transition = table_.transitions[step];
    TransitionBatch batch;
    batch.x = torch::tensor({-1.0, -1.0, -1.0, 2.0, 2.0, 2.0}, at::kDouble).view({6, 1, 1, 1});
    const Tensor points = torch::tensor({-std::sqrt(3.0), 0.0, std::sqrt(3.0)}, at::kDouble).repeat({2}).view({6, 1, 1, 1});
    batch.slot_weight = torch::tensor({1.0 / 6, 2.0 / 3, 1.0 / 6}, at::kDouble).repeat({2});
    set_transitions(batch, std::vector<Transition>(6, transition), at::kDouble);
    const Tensor reference = std::sqrt(1 - transition.alpha_bar) * batch.x;
    batch.eps_reference = reference;
    batch.eps_behaviour = reference + affine(policy, batch.x);
    batch.y = transition_mean(table_, transition, batch.x, batch.eps_behaviour) + transition.sigma * points;
    batch.is_terminal = at::full({6}, step + 1 == table_.transitions.size(), at::kBool);
    batch.reward_grad_y = at::full_like(batch.x, step + 1 == table_.transitions.size() ? kRewardTilt : 0.0);
    batch.reward_grad_x = at::zeros_like(batch.x);
    const auto reverse_score = [&](double slope, const Tensor& eps) {
      const double jacobian = transition.x_coefficient - transition.noise_coefficient * slope;
      return jacobian * (batch.y - transition_mean(table_, transition, batch.x, eps)) / (transition.sigma * transition.sigma);
    };
    const double reference_slope = std::sqrt(1 - transition.alpha_bar);
    batch.reverse_score_reference = reverse_score(reference_slope, reference);
    batch.reverse_score_policy = reverse_score(reference_slope + policy[1].item<double>(), batch.eps_behaviour);
    return batch;
  }

  Tensor loss(const TransitionBatch& batch, const Tensor& policy, const Tensor& later, const Tensor& own) const {
    Predictions predictions;
    predictions.eps = batch.eps_reference + affine(policy, batch.x);
    predictions.flow_y = affine(later, batch.y).detach();
    predictions.flow_x = affine(own, batch.x);
    return objective_->compute(batch, predictions).loss;
  }

  const StepTable& table_;
  std::unique_ptr<Objective> objective_;
  Tensor flow_;  // of the state behind the transition, [2]
};

ObjectiveConfig strength_config(StrengthMode mode) {
  ObjectiveConfig config{.reward_scale = 1.0, .reverse_loss_scale = 1.0, .unet_reg_scale = 0.0};
  config.gradient_uses_gamma = false;
  config.pretrained_strength = kStrength;
  config.strength_mode = mode;
  return config;
}

}  // namespace

TEST_CASE("an exact pretrained_strength reaches the law of its detailed balance") {
  const StepTable table = sampler_table(50);
  const FinalLaw law = GaussianTraining(table, strength_config(StrengthMode::kExact)).train(), truth = exact_law(table, kStrength);
  INFO("mean ", law.mean, " of ", truth.mean, ", variance ", law.variance, " of ", truth.variance);
  CHECK(law.mean == doctest::Approx(truth.mean).epsilon(1e-7));
  CHECK(law.variance == doctest::Approx(truth.variance).epsilon(1e-7));
}

TEST_CASE("that law tends to the flattened prior times the reward as steps grow finer") {
  CHECK(exact_law(sampler_table(200), kStrength).variance > 1.8);  // T5
  const FinalLaw fine = exact_law(sampler_table(999), kStrength);
  CHECK(fine.mean == doctest::Approx(1.6).epsilon(0.02));
  CHECK(fine.variance == doctest::Approx(2.0).epsilon(0.02));
}

TEST_CASE("the official pretrained_strength divides the reward and does not flatten the prior") {
  const FinalLaw law = GaussianTraining(sampler_table(50), strength_config(StrengthMode::kOfficial)).train();
  INFO("mean ", law.mean, ", variance ", law.variance);
  CHECK(law.mean > 1.2);
  CHECK(law.variance < 1.0);  // 1.7 gives 0.66 to 0.99
}

TEST_CASE("at strength 1 both modes are the plain residual form") {
  const StepTable table = sampler_table(20);
  ObjectiveConfig exact = strength_config(StrengthMode::kExact), official = strength_config(StrengthMode::kOfficial);
  exact.pretrained_strength = official.pretrained_strength = 1.0;
  const FinalLaw law = GaussianTraining(table, exact).train(), other = GaussianTraining(table, official).train(),
                 truth = exact_law(table, 1.0);
  CHECK(law.mean == other.mean);
  CHECK(law.variance == other.variance);
  CHECK(law.mean == doctest::Approx(truth.mean).epsilon(1e-8));
  CHECK(law.variance == doctest::Approx(truth.variance).epsilon(1e-8));
}
