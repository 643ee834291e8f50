#include "launch/truth/tier_cases.h"

#include <torch/types.h>

#include <cmath>
#include <numbers>

namespace nabla::truth {

namespace {

Tensor doubles(const std::vector<double>& values) { return torch::tensor(values, at::kDouble); }

Mixture even_mixture(const Tensor& means, double deviation) {
  const std::int64_t modes = means.size(0), d = means.size(1);
  const Tensor covariance = deviation * deviation * at::eye(d, at::kDouble);
  return {at::full({modes}, 1.0 / static_cast<double>(modes), at::kDouble), means, covariance.repeat({modes, 1, 1})};
}

QuadraticReward linear_reward(const Tensor& slope) {
  const std::int64_t d = slope.size(0);
  return {at::zeros({d}, at::kDouble), at::zeros({d, d}, at::kDouble), slope};
}

}  // namespace

TruthCase gaussian_case() {
  TruthCase problem;
  problem.name = "one Gaussian, linear reward";
  problem.prior = even_mixture(at::zeros({1, 1}, at::kDouble), 1.0);
  problem.reward = linear_reward(doubles({0.4}));
  problem.beta = 2.0;
  return problem;
}

TruthCase linear_case() {
  TruthCase problem;
  problem.name = "two modes, linear reward";
  problem.prior = even_mixture(doubles({-1.5, 1.5}).unsqueeze(1), 0.3);
  problem.reward = linear_reward(doubles({-1.0}));
  problem.beta = 0.7;
  return problem;
}

TruthCase quadratic_case() {
  TruthCase problem = linear_case();
  problem.name = "two modes, quadratic reward";
  problem.reward = {doubles({0.5}), at::ones({1, 1}, at::kDouble), at::zeros({1}, at::kDouble)};
  problem.beta = 4.0;
  return problem;
}

TruthCase plane_case() {
  TruthCase problem;
  problem.name = "three modes in the plane, linear reward";
  const Tensor angles = doubles({90.0, 210.0, 330.0}) * (std::numbers::pi / 180.0);
  problem.prior = even_mixture(2.0 * at::stack({angles.cos(), angles.sin()}, 1), 0.3);
  problem.reward = linear_reward(doubles({-0.6, 0.2}));
  problem.beta = 1.0;
  return problem;
}

TruthCase half_strength_case() {
  TruthCase problem = gaussian_case();
  problem.name = "one Gaussian, half the prior's strength";
  problem.pretrained_strength = 0.5;
  problem.steps = 200;
  return problem;
}

TruthCase gaussian_network_case() {
  TruthCase problem = gaussian_case();
  problem.name = "one Gaussian, linear reward, small network";
  problem.learner = LearnerKind::kMlp;
  problem.training.updates = 1200;
  problem.training.learning_rate = 3e-3;
  return problem;
}

TruthCase network_case() {
  TruthCase problem = linear_case();
  problem.name = "two modes, linear reward, small network";
  problem.learner = LearnerKind::kMlp;
  problem.training.updates = 1600;
  problem.training.learning_rate = 3e-3;
  return problem;
}

}  // namespace nabla::truth
