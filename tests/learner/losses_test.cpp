#include "tests/learner/density_oracle.h"

using namespace nabla;
using namespace nabla::testing;

namespace {

constexpr double kTolerance = 1e-9;

double gamma_of(double alpha_bar, const ObjectiveConfig& config) {
  if (!config.gradient_uses_gamma || config.gamma == RewardGamma::kOne) return 1.0;
  return config.gamma == RewardGamma::kLinear ? std::sqrt(alpha_bar) : alpha_bar;
}

// The contribution of one row, without 1/K.
Tensor row_loss(const LossScene& scene, std::int64_t row, const ObjectiveConfig& config) {
  const auto of_row = [&](const Tensor& tensor) { return tensor.narrow(0, row, 1); };
  const Kernel kernel = kernel_of(scene, row);
  const TransitionBatch& batch = scene.batch;
  const bool terminal = batch.is_terminal[row].item<bool>();
  const Tensor x = of_row(batch.x), y = of_row(batch.y);
  const Scores policy = scores_of(kernel, x, y, scene.policy), reference = scores_of(kernel, x, y, scene.reference);
  const Scores backward = backward_scores(kernel, x, y);
  const Tensor flow_y = LossScene::network(y, scene.flow), flow_x = LossScene::network(x, scene.flow);
  const double eta = config.pretrained_strength, exact = config.strength_mode == StrengthMode::kExact ? 1.0 - eta : 0.0;

  const double gamma = terminal && !config.terminal_gamma ? 1.0 : gamma_of(kernel.b, config);
  Tensor score_y = config.reward_scale * gamma * of_row(batch.reward_grad_y);
  if (config.flow && !terminal) score_y = score_y + (config.flow_from_forward_loss ? flow_y : flow_y.detach());
  Tensor forward = policy.forward - eta * reference.forward - exact * backward.forward - score_y;
  if (config.time_weighting == TimeWeighting::kUniform) forward = forward * (kernel.variance() / kernel.k());
  if (config.time_weighting == TimeWeighting::kSigma) forward = forward * std::sqrt(kernel.variance());
  Tensor loss =
      forward.square().mean() + config.unet_reg_scale * (LossScene::network(x, scene.policy) - of_row(batch.eps_behaviour)).square().mean();
  if (!config.flow) return loss;
  const bool trains_policy = config.reverse_target == ReverseTarget::kTrueGradient;
  const Tensor own = trains_policy ? policy.reverse : policy.reverse.detach();
  const Tensor score_x = config.reward_scale * gamma_of(kernel.a, config) * of_row(batch.reward_grad_x) + flow_x;
  const double own_factor = config.strength_mode == StrengthMode::kExact ? 1.0 : eta;
  Tensor reverse = own_factor * own - eta * reference.reverse - exact * backward.reverse + score_x;
  if (terminal && config.zero_terminal_reverse_target) reverse = own_factor * own;
  loss = loss + config.reverse_loss_scale * reverse.square().mean();
  return terminal ? loss + flow_y.square().mean() : loss;
}

Tensor oracle(const LossScene& scene, const ObjectiveConfig& config) {
  std::vector<Tensor> rows;
  for (std::int64_t row = 0; row < LossScene::kRows; ++row) rows.push_back(row_loss(scene, row, config) * (row < 3 ? 1.0 / 3 : 1.0 / 2));
  return at::stack(rows).sum();
}

std::vector<Tensor> gradients(const Tensor& loss, const LossScene& scene) {
  return torch::autograd::grad({loss}, {scene.policy, scene.flow}, {}, {}, false, true);
}

}  // namespace

TEST_CASE("the loss and its gradients are those of Gaussian densities differentiated by autograd, in every setting") {
  LossScene scene;
  fill_reverse_scores(scene);
  for (const auto& config : all_objectives()) {
    INFO("gamma ", static_cast<int>(config.gamma), " weighting ", static_cast<int>(config.time_weighting), " uses gamma ",
         config.gradient_uses_gamma, " flow ", config.flow, " from forward ", config.flow_from_forward_loss, " eta ",
         config.pretrained_strength, " mode ", static_cast<int>(config.strength_mode), " target ", static_cast<int>(config.reverse_target));
    const Tensor expected = oracle(scene, config);
    const Tensor loss = residual_nabla_db(scene.batch, scene.predict(config), config).loss;
    CHECK(relative_difference(loss, expected) < kTolerance);
    const auto ours = gradients(loss, scene), theirs = gradients(expected, scene);
    CHECK(relative_difference(ours[0], theirs[0]) < kTolerance);
    CHECK(ours[1].defined() == config.flow);
    if (config.flow) CHECK(relative_difference(ours[1], theirs[1]) < kTolerance);
  }
}

TEST_CASE("the residuals are the differences of the scores") {
  LossScene scene;
  fill_reverse_scores(scene);
  const ObjectiveConfig config{.reward_scale = 2.5};
  const LossOutput output = residual_nabla_db(scene.batch, scene.predict(config), config);
  for (std::int64_t row = 0; row < LossScene::kRows; ++row) {
    const Kernel kernel(scene.rows[static_cast<std::size_t>(row)]);
    const Tensor x = scene.batch.x.narrow(0, row, 1), y = scene.batch.y.narrow(0, row, 1);
    const Scores policy = scores_of(kernel, x, y, scene.policy), reference = scores_of(kernel, x, y, scene.reference);
    const bool terminal = row == 2 || row == 4;
    Tensor score_y = 2.5 * (terminal ? 1.0 : kernel.b) * scene.batch.reward_grad_y.narrow(0, row, 1);
    if (!terminal) score_y = score_y + LossScene::network(y, scene.flow);
    const Tensor score_x = 2.5 * kernel.a * scene.batch.reward_grad_x.narrow(0, row, 1) + LossScene::network(x, scene.flow);
    CHECK(relative_difference(-output.residual_forward.narrow(0, row, 1), policy.forward - reference.forward - score_y) < kTolerance);
    CHECK(relative_difference(output.residual_reverse.narrow(0, row, 1), policy.reverse - reference.reverse + score_x) < kTolerance);
    CHECK_FALSE(output.residual_forward.requires_grad());
  }
}

TEST_CASE("the terms add up to the loss") {
  const LossScene scene;
  const ObjectiveConfig config{.reward_scale = 2.5, .reverse_loss_scale = 1.3, .unet_reg_scale = 0.7};
  const LossOutput output = residual_nabla_db(scene.batch, scene.predict(config), config);
  const auto term = [&](const char* name) { return output.terms.at(name).item<double>(); };
  const double sum = term("loss_forward") + 1.3 * term("losses_backward") + term("loss_terminal") + 0.7 * term("unetreg");
  CHECK(sum == doctest::Approx(output.loss.item<double>()).epsilon(kTolerance));
  CHECK(term("loss") == output.loss.item<double>());
  for (const auto& [name, value] : output.terms) CHECK_FALSE(value.requires_grad());
}

TEST_CASE("without the flow network its terms are absent") {
  const LossScene scene;
  const ObjectiveConfig config{.flow = false};
  const LossOutput output = residual_nabla_db(scene.batch, scene.predict(config), config);
  CHECK_FALSE(output.residual_reverse.defined());
  for (const auto* name : {"losses_backward", "loss_terminal", "norm_score_flow"}) CHECK_FALSE(output.terms.contains(name));
}

TEST_CASE("a slot counts once, however many rows it has") {
  // Both slots made of equal rows: three rows of a third and two of a half contribute the same.
  LossScene scene;
  const auto repeat = [](Tensor& tensor) { tensor = tensor.narrow(0, 0, 1).expand({LossScene::kRows, -1, -1, -1}).contiguous(); };
  TransitionBatch& batch = scene.batch;
  for (Tensor* tensor : {&batch.x, &batch.y, &batch.eps_behaviour, &batch.eps_reference, &batch.reward_grad_x, &batch.reward_grad_y,
                         &batch.reverse_score_reference, &batch.reverse_score_policy})
    repeat(*tensor);
  for (Tensor* tensor : {&batch.weight, &batch.alpha_bar, &batch.alpha_bar_next})
    *tensor = tensor->narrow(0, 0, 1).expand({LossScene::kRows}).contiguous();
  batch.is_terminal.fill_(false);
  const ObjectiveConfig config{.reward_scale = 2.5};
  const double both = residual_nabla_db(batch, scene.predict(config), config).loss.item<double>();
  const auto slot_loss = [&](std::int64_t first, std::int64_t count) {
    TransitionBatch part = batch;
    part.slot_weight = batch.slot_weight.clone().zero_();
    part.slot_weight.narrow(0, first, count).copy_(batch.slot_weight.narrow(0, first, count));
    return residual_nabla_db(part, scene.predict(config), config).loss.item<double>();
  };
  CHECK(slot_loss(0, 3) == doctest::Approx(slot_loss(3, 2)).epsilon(kTolerance));
  CHECK(slot_loss(0, 3) + slot_loss(3, 2) == doctest::Approx(both).epsilon(kTolerance));
}

TEST_CASE("in float32 the epsilon form keeps what the difference of two scores would lose") {
  // The last step's scores are of the size 1 / sigma = 48; a policy that differs little from the reference is still seen.
  LossScene scene;
  ObjectiveConfig config{.reward_scale = 0.0, .unet_reg_scale = 0.0, .flow = false};
  const Tensor difference = 1e-4 * scene.draw();
  const Tensor exact = residual_nabla_db(scene.batch, {scene.batch.eps_reference + difference, {}, {}}, config).loss;
  TransitionBatch rough = scene.batch;
  for (Tensor* tensor :
       {&rough.eps_behaviour, &rough.eps_reference, &rough.reward_grad_y, &rough.weight, &rough.alpha_bar_next, &rough.slot_weight})
    *tensor = tensor->to(at::kFloat);
  const Tensor loss = residual_nabla_db(rough, {(scene.batch.eps_reference + difference).to(at::kFloat), {}, {}}, config).loss;
  CHECK(relative_difference(loss.to(at::kDouble), exact) < 2e-3);
}
