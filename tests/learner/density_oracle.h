#pragma once

#include "tests/learner/loss_scene.h"

#include <torch/csrc/autograd/autograd.h>

namespace nabla::testing {

// Scores are derivatives of log N(y; mu(x), sigma^2) by autograd, with the kernels as docs/objectives.md write them. They share no formula with
// the epsilon form of the code under test.
struct Kernel {
  explicit Kernel(const Transition& t) : a(t.alpha_bar), b(t.alpha_bar_next) {}
  double a, b;
  double alpha() const { return a / b; }
  double variance() const { return (1 - b) * (1 - alpha()) / (1 - a); }
  double k() const { return (1 - alpha()) / (std::sqrt(alpha()) * std::sqrt(1 - a)); }
  Tensor mean(const Tensor& x, const Tensor& eps) const { return x / std::sqrt(alpha()) - k() * eps; }
  Tensor log_density(const Tensor& x, const Tensor& y, const Tensor& eps) const {
    return (y - mean(x, eps)).square().sum() / (-2.0 * variance());
  }
  // log P_B(x|y), the noising.
  Tensor log_backward(const Tensor& x, const Tensor& y) const {
    return (x - std::sqrt(alpha()) * y).square().sum() / (-2.0 * (1 - alpha()));
  }
};

struct Scores {
  Tensor forward;  // d log P / dy, with a graph to the network
  Tensor reverse;  // d log P / dx, with a graph to the network too
};

inline Scores scores_of(const Kernel& kernel, const Tensor& x, const Tensor& y, const Tensor& matrix) {
  const Tensor at_x = x.clone().requires_grad_(true), at_y = y.clone().requires_grad_(true);
  const Tensor density = kernel.log_density(at_x, at_y, LossScene::network(at_x, matrix));
  const auto scores = torch::autograd::grad({density}, {at_y, at_x}, {}, true, true);
  return {scores[0], scores[1]};
}

inline Scores backward_scores(const Kernel& kernel, const Tensor& x, const Tensor& y) {
  const Tensor at_x = x.clone().requires_grad_(true), at_y = y.clone().requires_grad_(true);
  const auto scores = torch::autograd::grad({kernel.log_backward(at_x, at_y)}, {at_y, at_x});
  return {scores[0], scores[1]};
}

inline Kernel kernel_of(const LossScene& scene, std::int64_t row) { return Kernel(scene.rows[static_cast<std::size_t>(row)]); }

// What an actor sends of scores: those of policy and reference, and the reference's product with the difference of both means, at each row.
inline void fill_reverse_scores(LossScene& scene) {
  std::vector<Tensor> policy, reference, rao_blackwell;
  for (std::int64_t row = 0; row < LossScene::kRows; ++row) {
    const Kernel kernel = kernel_of(scene, row);
    const Tensor x = scene.batch.x.narrow(0, row, 1), y = scene.batch.y.narrow(0, row, 1);
    const Tensor policy_mean = kernel.mean(x, scene.batch.eps_behaviour.narrow(0, row, 1));
    policy.push_back(scores_of(kernel, x, y, scene.policy).reverse.detach());
    reference.push_back(scores_of(kernel, x, y, scene.reference).reverse.detach());
    rao_blackwell.push_back(scores_of(kernel, x, policy_mean, scene.reference).reverse.detach());
  }
  scene.batch.reverse_score_policy = at::cat(policy);
  scene.batch.reverse_score_reference = at::cat(reference);
  scene.batch.reverse_rao_blackwell = at::cat(rao_blackwell);
}

}  // namespace nabla::testing
