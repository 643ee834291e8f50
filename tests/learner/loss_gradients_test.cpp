#include "tests/learner/finite_differences.h"
#include "tests/learner/loss_scene.h"

#include <torch/csrc/autograd/autograd.h>

#include <functional>

using namespace nabla;
using namespace nabla::testing;

// Gradients with respect to the networks' outputs: against finite differences, and the stop-gradient map of docs/objectives.md.

namespace {

// Predictions as leaves, so that the gradient of each output is seen by itself.
Predictions leaves(const LossScene& scene, const ObjectiveConfig& config) {
  Predictions predictions = scene.predict(config);
  for (Tensor* tensor : {&predictions.eps, &predictions.flow_x, &predictions.flow_y, &predictions.reverse_score}) {
    if (tensor->defined()) *tensor = tensor->detach().clone().requires_grad_(true);
  }
  return predictions;
}

struct OutputGradients {
  Tensor eps, flow_x, flow_y;
};

OutputGradients gradients_of(const LossScene& scene, const ObjectiveConfig& config) {
  const Predictions at = leaves(scene, config);
  const Tensor loss = residual_nabla_db(scene.batch, at, config).loss;
  const auto all = torch::autograd::grad({loss}, {at.eps, at.flow_x, at.flow_y}, {}, {}, false, true);
  return {all[0], all[1], all[2]};
}

// The loss is quadratic in its outputs, so a central difference has rounding errors alone.
constexpr double kOutputStep = 1e-3;

Tensor terminal_rows(const LossScene& scene, const Tensor& tensor) {
  return tensor.index_select(0, scene.batch.is_terminal.nonzero().flatten());
}
Tensor other_rows(const LossScene& scene, const Tensor& tensor) {
  return tensor.index_select(0, scene.batch.is_terminal.logical_not().nonzero().flatten());
}
double size(const Tensor& tensor) { return tensor.abs().max().item<double>(); }

// The whole loss, and each of its terms alone: L_forward and L_terminal cannot be switched off, so terms are differences.
struct Terms {
  ObjectiveConfig none{.reward_scale = 2.5, .reverse_loss_scale = 0.0, .unet_reg_scale = 0.0};
  ObjectiveConfig with_reverse{.reward_scale = 2.5, .reverse_loss_scale = 1.3, .unet_reg_scale = 0.0};
  ObjectiveConfig with_anchor{.reward_scale = 2.5, .reverse_loss_scale = 0.0, .unet_reg_scale = 0.7};
};

}  // namespace

TEST_CASE("gradients of the outputs are finite differences of the loss") {
  const LossScene scene;
  for (ObjectiveConfig config : all_objectives()) {
    if (!config.flow) continue;
    config.flow_from_forward_loss = true;  // else g(y) is a constant to the gradient and not to the difference
    const Predictions at = leaves(scene, config);
    const Tensor loss = residual_nabla_db(scene.batch, at, config).loss;
    const auto gradients = torch::autograd::grad({loss}, {at.eps, at.flow_x, at.flow_y});
    const auto value = [&] { return residual_nabla_db(scene.batch, at, config).loss.item<double>(); };
    CHECK(relative_difference(gradients[0], finite_differences(at.eps, value, kOutputStep)) < 1e-6);
    CHECK(relative_difference(gradients[1], finite_differences(at.flow_x, value, kOutputStep)) < 1e-6);
    CHECK(relative_difference(gradients[2], finite_differences(at.flow_y, value, kOutputStep)) < 1e-6);
  }
}

TEST_CASE("the policy learns from the forward loss and the anchor, never from the reverse or the terminal loss") {
  LossScene scene;
  const Terms terms;
  const Tensor forward = gradients_of(scene, terms.none).eps;
  CHECK(size(forward) > 0);
  CHECK(gradients_of(scene, terms.with_reverse).eps.equal(forward));
  CHECK_FALSE(gradients_of(scene, terms.with_anchor).eps.equal(forward));
  const Tensor anchor_only = gradients_of(scene, terms.with_anchor).eps - forward;
  const Tensor expected = 0.7 * 2.0 / LossScene::kElements * (leaves(scene, terms.none).eps - scene.batch.eps_behaviour) *
                          scene.batch.slot_weight.view({-1, 1, 1, 1});
  CHECK(relative_difference(anchor_only, expected) < 1e-8);
}

TEST_CASE("the flow at x learns from the reverse loss alone") {
  const LossScene scene;
  const Terms terms;
  const Tensor without = gradients_of(scene, terms.none).flow_x;
  CHECK((!without.defined() || size(without) == 0));
  CHECK(size(gradients_of(scene, terms.with_reverse).flow_x) > 0);
}

TEST_CASE("the flow at y learns from the terminal loss at the terminal rows, and from nothing elsewhere") {
  const LossScene scene;
  const Tensor gradient = gradients_of(scene, Terms().with_reverse).flow_y;
  CHECK(size(other_rows(scene, gradient)) == 0);
  const Tensor expected = 2.0 / LossScene::kElements * leaves(scene, Terms().none).flow_y * scene.batch.slot_weight.view({-1, 1, 1, 1});
  CHECK(relative_difference(terminal_rows(scene, gradient), terminal_rows(scene, expected)) < 1e-12);
}

TEST_CASE("flow_from_forward_loss adds the forward loss to the flow at y, but not at the terminal rows") {
  const LossScene scene;
  ObjectiveConfig config = Terms().with_reverse;
  const OutputGradients detached = gradients_of(scene, config);
  config.flow_from_forward_loss = true;
  const OutputGradients released = gradients_of(scene, config);
  CHECK(size(other_rows(scene, released.flow_y)) > 0);
  CHECK(terminal_rows(scene, released.flow_y).equal(terminal_rows(scene, detached.flow_y)));
  CHECK(released.eps.equal(detached.eps));
  CHECK(released.flow_x.equal(detached.flow_x));
}

TEST_CASE("the terminal target is the reward gradient alone, whatever gamma and flow say") {
  LossScene scene;
  const ObjectiveConfig config = Terms().none;
  const Tensor before = residual_nabla_db(scene.batch, scene.predict(config), config).residual_forward;
  scene.flow = scene.weights();
  scene.batch.alpha_bar_next = scene.batch.alpha_bar_next * 0.5;
  const Tensor after = residual_nabla_db(scene.batch, scene.predict(config), config).residual_forward;
  CHECK(terminal_rows(scene, after).equal(terminal_rows(scene, before)));
  CHECK_FALSE(other_rows(scene, after).equal(other_rows(scene, before)));
}

TEST_CASE("the reverse loss keeps its target at the terminal transition") {
  const LossScene scene;
  CHECK(size(terminal_rows(scene, gradients_of(scene, Terms().with_reverse).flow_x)) > 0);
}
