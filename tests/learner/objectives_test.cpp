#include "tests/learner/density_oracle.h"
#include "tests/learner/finite_differences.h"

using namespace nabla;
using namespace nabla::testing;

// Every objective against its definition, and its gradients against finite differences of that definition.

namespace {

constexpr double kOracleTolerance = 1e-9, kStep = 1e-5;

constexpr Method kMethods[] = {Method::kResidualNablaDb, Method::kPlainNablaDb, Method::kRefl,           Method::kDraft1,
                               Method::kDraftLv,         Method::kDdpo,         Method::kAdjointMatching};

LossOutput compute(const LossScene& scene, const ObjectiveConfig& config) {
  return make_objective(config)->compute(scene.batch, scene.predict(config));
}

ObjectiveConfig config_of(Method method) {
  ObjectiveConfig config{.reward_scale = 2.5, .reverse_loss_scale = 1.3, .unet_reg_scale = 0.7};
  config.method = method;
  config.flow = method == Method::kResidualNablaDb || method == Method::kPlainNablaDb;
  return config;
}

std::vector<Tensor> weight_gradients(const Tensor& loss, const LossScene& scene) {
  return torch::autograd::grad({loss}, {scene.policy, scene.flow}, {}, {}, false, true);
}

// The policy that sampled is the one that is trained: lag 0.
LossScene on_policy_scene() {
  LossScene scene;
  scene.batch.eps_behaviour = LossScene::network(scene.batch.x, scene.policy).detach();
  return scene;
}

Tensor row_of(const Tensor& tensor, std::int64_t index) { return tensor.narrow(0, index, 1); }

// A reward that is not linear, as a picture's is not.
Tensor log_reward(const Tensor& latent) { return (latent.sin() + 0.3 * latent.prod() * latent).sum(); }

Tensor reward_gradient_at(const Tensor& latent) {
  const Tensor leaf = latent.detach().clone().requires_grad_(true);
  return torch::autograd::grad({log_reward(leaf)}, {leaf})[0];
}

// Of the rows in a slot's regulariser: methods that train one transition of a trajectory hold that one alone.
Tensor row_weights(const LossScene& scene, Method method) {
  if (method == Method::kRefl) return at::ones_like(scene.batch.slot_weight);
  if (method == Method::kDraft1 || method == Method::kDraftLv) return scene.batch.is_terminal.to(at::kDouble);
  return scene.batch.slot_weight;
}

}  // namespace

TEST_CASE("the Rao-Blackwell target is the official one at the mean of y, to which its other scores are linear") {
  LossScene scene = on_policy_scene();
  std::vector<Tensor> means;
  for (std::int64_t i = 0; i < LossScene::kRows; ++i)
    means.push_back(kernel_of(scene, i).mean(row_of(scene.batch.x, i), row_of(scene.batch.eps_behaviour, i)));
  scene.batch.y = at::cat(means);
  fill_reverse_scores(scene);
  for (const double strength : {1.0, 0.25}) {
    for (const auto mode : {StrengthMode::kExact, StrengthMode::kOfficial}) {
      ObjectiveConfig config = config_of(Method::kResidualNablaDb);
      config.pretrained_strength = strength;
      config.strength_mode = mode;
      const Tensor official = compute(scene, config).residual_reverse;
      config.reverse_target = ReverseTarget::kRaoBlackwell;
      CHECK(relative_difference(compute(scene, config).residual_reverse, official) < kOracleTolerance);
    }
  }
  ObjectiveConfig config = config_of(Method::kPlainNablaDb);
  const Tensor official = compute(scene, config).residual_reverse;
  config.reverse_target = ReverseTarget::kRaoBlackwell;
  CHECK(relative_difference(compute(scene, config).residual_reverse, official) < kOracleTolerance);
}

TEST_CASE("the Rao-Blackwell target does not look at y, the official one does") {
  LossScene scene;
  fill_reverse_scores(scene);
  ObjectiveConfig config = config_of(Method::kResidualNablaDb);
  config.pretrained_strength = 0.5;
  const auto moves_with_y = [&](ReverseTarget target) {
    config.reverse_target = target;
    LossScene moved = scene;
    moved.batch.y = scene.batch.y + 0.1;
    fill_reverse_scores(moved);
    return !compute(moved, config).residual_reverse.equal(compute(scene, config).residual_reverse);
  };
  CHECK_FALSE(moves_with_y(ReverseTarget::kRaoBlackwell));
  CHECK(moves_with_y(ReverseTarget::kOfficial));
}

TEST_CASE("with the true gradient the reverse loss trains the policy, by the derivative of its whole value") {
  LossScene scene;
  fill_reverse_scores(scene);
  ObjectiveConfig config = config_of(Method::kResidualNablaDb);
  config.flow_from_forward_loss = true;  // else the flow at y is a constant to the gradient and not to the difference
  const auto official = weight_gradients(compute(scene, config).loss, scene);
  config.reverse_target = ReverseTarget::kTrueGradient;
  const auto whole = weight_gradients(compute(scene, config).loss, scene);
  const auto value = [&] {
    const at::AutoGradMode with_graph(true);
    return compute(scene, config).loss.item<double>();
  };
  CHECK(relative_difference(whole[0], finite_differences(scene.policy, value, kStep)) < 1e-6);
  CHECK(relative_difference(whole[1], finite_differences(scene.flow, value, kStep)) < 1e-6);
  CHECK(relative_difference(official[0], whole[0]) > 1e-2);
  CHECK(relative_difference(official[1], whole[1]) < kOracleTolerance);
}

TEST_CASE("plain nabla-DB is made of the scores of both kernels, in every setting") {
  LossScene scene;
  fill_reverse_scores(scene);
  for (const auto weighting : {TimeWeighting::kW2, TimeWeighting::kUniform, TimeWeighting::kSigma}) {
    for (const bool from_forward : {false, true}) {
      for (const auto target : {ReverseTarget::kOfficial, ReverseTarget::kTrueGradient}) {
        ObjectiveConfig config = config_of(Method::kPlainNablaDb);
        config.time_weighting = weighting;
        config.flow_from_forward_loss = from_forward;
        config.reverse_target = target;
        Tensor expected = at::zeros({}, at::kDouble);
        for (std::int64_t i = 0; i < LossScene::kRows; ++i) {
          const Kernel kernel = kernel_of(scene, i);
          const Tensor x = row_of(scene.batch.x, i), y = row_of(scene.batch.y, i);
          const Scores policy = scores_of(kernel, x, y, scene.policy), backward = backward_scores(kernel, x, y);
          const bool terminal = i == 2 || i == 4;
          const Tensor reward = 2.5 * row_of(scene.batch.reward_grad_y, i), flow_y = LossScene::network(y, scene.flow);
          const Tensor score = terminal ? reward : from_forward ? flow_y : flow_y.detach();
          Tensor forward = policy.forward - backward.forward - score;
          if (weighting == TimeWeighting::kUniform) forward = forward * kernel.variance() / kernel.k();
          if (weighting == TimeWeighting::kSigma) forward = forward * std::sqrt(kernel.variance());
          const Tensor own = target == ReverseTarget::kTrueGradient ? policy.reverse : policy.reverse.detach();
          const Tensor reverse = own - backward.reverse + LossScene::network(x, scene.flow);
          Tensor loss = forward.square().mean() + 1.3 * reverse.square().mean() +
                        0.7 * (LossScene::network(x, scene.policy) - row_of(scene.batch.eps_behaviour, i)).square().mean();
          if (terminal) loss = loss + (flow_y - reward).square().mean();
          expected = expected + loss * (i < 3 ? 1.0 / 3 : 1.0 / 2);
        }
        const Tensor loss = compute(scene, config).loss;
        CHECK(relative_difference(loss, expected) < kOracleTolerance);
        const auto ours = weight_gradients(loss, scene), theirs = weight_gradients(expected, scene);
        CHECK(relative_difference(ours[0], theirs[0]) < kOracleTolerance);
        CHECK(relative_difference(ours[1], theirs[1]) < kOracleTolerance);
      }
    }
  }
}

TEST_CASE("Adjoint Matching is the forward loss with the adjoint as its score, and knows no gamma and no flow") {
  const LossScene scene;
  ObjectiveConfig config = config_of(Method::kAdjointMatching);
  ObjectiveConfig residual = config_of(Method::kResidualNablaDb);
  residual.flow = residual.gradient_uses_gamma = false;
  for (const auto weighting : {TimeWeighting::kW2, TimeWeighting::kUniform, TimeWeighting::kSigma}) {
    config.time_weighting = residual.time_weighting = weighting;
    const Tensor ours = compute(scene, config).loss, theirs = compute(scene, residual).loss;
    CHECK(relative_difference(ours, theirs) < kOracleTolerance);
    CHECK(relative_difference(weight_gradients(ours, scene)[0], weight_gradients(theirs, scene)[0]) < kOracleTolerance);
  }
  config.gradient_uses_gamma = true;
  config.gamma = RewardGamma::kSquared;
  const Tensor before = compute(scene, config).loss;
  config.gamma = RewardGamma::kOne;
  CHECK(compute(scene, config).loss.equal(before));
}

TEST_CASE("ReFL's gradient is that of the reward of the clean prediction at its rows") {
  LossScene scene = on_policy_scene();
  const ObjectiveConfig config = config_of(Method::kRefl);
  const auto clean = [&](std::int64_t i) {
    const double a = kernel_of(scene, i).a;
    const Tensor x = row_of(scene.batch.x, i);
    return (x - std::sqrt(1 - a) * LossScene::network(x, scene.policy)) / std::sqrt(a);
  };
  std::vector<Tensor> raw;
  for (std::int64_t i = 0; i < LossScene::kRows; ++i) raw.push_back(reward_gradient_at(clean(i)));
  scene.batch.reward_grad_x0 = at::cat(raw);
  const auto reward = [&] {
    double total = 0.0;
    for (std::int64_t i = 0; i < LossScene::kRows; ++i) total -= 2.5 * log_reward(clean(i)).item<double>();
    return total;
  };
  const LossOutput output = compute(scene, config);
  CHECK(std::abs(output.loss.item<double>()) < 1e-9);  // nothing has changed since sampling
  CHECK(relative_difference(weight_gradients(output.loss, scene)[0], finite_differences(scene.policy, reward, kStep)) < 1e-6);
}

TEST_CASE("DRaFT-1's gradient is that of the reward of the final latents at fixed noise") {
  LossScene scene = on_policy_scene();
  const ObjectiveConfig config = config_of(Method::kDraft1);
  // The noise is what brought y about.
  const auto mean = [&](std::int64_t i) {
    const Tensor x = row_of(scene.batch.x, i);
    return kernel_of(scene, i).mean(x, LossScene::network(x, scene.policy));
  };
  std::vector<Tensor> noise(LossScene::kRows), raw;
  for (std::int64_t i = 0; i < LossScene::kRows; ++i) {
    noise[static_cast<std::size_t>(i)] = (row_of(scene.batch.y, i) - mean(i)).detach();
    raw.push_back(reward_gradient_at(row_of(scene.batch.y, i)));
  }
  scene.batch.reward_grad_y = at::cat(raw);
  const auto reward = [&] {
    double total = 0.0;
    for (const std::int64_t i : {2, 4}) total -= 2.5 * log_reward(mean(i) + noise[static_cast<std::size_t>(i)]).item<double>();
    return total;
  };
  CHECK(relative_difference(weight_gradients(compute(scene, config).loss, scene)[0], finite_differences(scene.policy, reward, kStep)) <
        1e-6);
}

TEST_CASE("DRaFT-LV averages the reward of the last transition's mean over the noisings of a slot") {
  LossScene scene = on_policy_scene();
  const ObjectiveConfig config = config_of(Method::kDraftLv);
  ObjectiveConfig without_anchor = config;
  without_anchor.unet_reg_scale = 0.0;
  const auto mean = [&](std::int64_t sample) {
    const Tensor x = row_of(scene.batch.renoised_x, sample);
    return kernel_of(scene, sample < 2 ? 2 : 4).mean(x, LossScene::network(x, scene.policy));
  };
  std::vector<Tensor> raw;
  for (std::int64_t sample = 0; sample < 4; ++sample) raw.push_back(reward_gradient_at(mean(sample)));
  scene.batch.renoised_reward_grad = at::cat(raw);
  const auto reward = [&] {
    double total = 0.0;
    for (std::int64_t sample = 0; sample < 4; ++sample) total -= 2.5 / 2.0 * log_reward(mean(sample)).item<double>();
    return total;
  };
  CHECK(relative_difference(weight_gradients(compute(scene, config).loss, scene)[0], finite_differences(scene.policy, reward, kStep)) <
        1e-6);
  CHECK(compute(scene, config).loss.equal(compute(scene, without_anchor).loss));  // at lag 0 the anchor is where it stands
}

TEST_CASE("DDPO is the clipped ratio of both densities times the advantage") {
  LossScene scene;
  ObjectiveConfig config = config_of(Method::kDdpo);
  for (const double range : {1e9, 0.05}) {
    config.ddpo_clip_range = range;
    Tensor expected = at::zeros({}, at::kDouble);
    for (std::int64_t i = 0; i < LossScene::kRows; ++i) {
      const Kernel kernel = kernel_of(scene, i);
      const Tensor x = row_of(scene.batch.x, i), y = row_of(scene.batch.y, i), eps = LossScene::network(x, scene.policy);
      const Tensor change = kernel.log_density(x, y, eps) - kernel.log_density(x, y, row_of(scene.batch.eps_behaviour, i));
      const Tensor ratio = (change / LossScene::kElements).exp();
      const double advantage = scene.batch.advantage[i].item<double>();
      const Tensor gain = at::minimum(ratio * advantage, ratio.clamp(1 - range, 1 + range) * advantage);
      const Tensor anchor = 0.7 * (eps - row_of(scene.batch.eps_behaviour, i)).square().mean();
      expected = expected + (anchor - gain) * (i < 3 ? 1.0 / 3 : 1.0 / 2);
    }
    const Tensor loss = compute(scene, config).loss;
    CHECK(relative_difference(loss, expected) < kOracleTolerance);
    CHECK(relative_difference(weight_gradients(loss, scene)[0], weight_gradients(expected, scene)[0]) < kOracleTolerance);
  }
  const LossOutput clipped = compute(scene, config);
  CHECK(clipped.terms.at("ratio_clipped").item<double>() > 0.0);
}

TEST_CASE("DDPO without a clip is the policy gradient at lag 0") {
  LossScene scene = on_policy_scene();
  ObjectiveConfig config = config_of(Method::kDdpo);
  Tensor expected = at::zeros({}, at::kDouble);
  for (std::int64_t i = 0; i < LossScene::kRows; ++i) {
    const Tensor x = row_of(scene.batch.x, i);
    const Tensor density = kernel_of(scene, i).log_density(x, row_of(scene.batch.y, i), LossScene::network(x, scene.policy));
    expected = expected - scene.batch.advantage[i] * density / LossScene::kElements * scene.batch.slot_weight[i];
  }
  const LossOutput output = compute(scene, config);
  CHECK(relative_difference(weight_gradients(output.loss, scene)[0], weight_gradients(expected, scene)[0]) < 1e-8);
  CHECK(output.terms.at("ratio_mean").item<double>() == doctest::Approx(2.0));  // a mean of 1 for each slot
}

TEST_CASE("an anchor of its own takes the place of the behaviour in the regulariser alone") {
  LossScene scene;
  fill_reverse_scores(scene);
  for (const auto method : kMethods) {
    INFO("method ", static_cast<int>(method));
    ObjectiveConfig config = config_of(method);
    const Tensor before = compute(scene, config).loss;
    LossScene anchored = scene;
    anchored.batch.eps_anchor = scene.draw();
    const LossOutput after = compute(anchored, config);
    const Tensor expected =
        (row_weights(scene, method) * (anchored.predict(config).eps - anchored.batch.eps_anchor).square().mean({1, 2, 3})).sum();
    CHECK(relative_difference(after.terms.at("unetreg"), expected) < kOracleTolerance);
    CHECK_FALSE(after.loss.equal(before));
    config.unet_reg_scale = 0.0;
    CHECK(compute(anchored, config).loss.equal(compute(scene, config).loss));
  }
}

TEST_CASE("the gradients of every objective in the weights of both networks are finite differences of its loss") {
  LossScene scene = on_policy_scene();
  fill_reverse_scores(scene);
  for (const auto method : kMethods) {
    INFO("method ", static_cast<int>(method));
    ObjectiveConfig config = config_of(method);
    config.flow_from_forward_loss = true;  // else the flow at y is a constant to the gradient and not to the difference
    config.ddpo_clip_range = 10.0;         // no kink where the ratio is one
    const auto ours = weight_gradients(compute(scene, config).loss, scene);
    const auto value = [&] { return compute(scene, config).loss.item<double>(); };
    CHECK(relative_difference(ours[0], finite_differences(scene.policy, value, kStep)) < 1e-6);
    CHECK(ours[1].defined() == config.flow);
    if (config.flow) CHECK(relative_difference(ours[1], finite_differences(scene.flow, value, kStep)) < 1e-6);
  }
}

TEST_CASE("the terms of every objective are detached and add up to its loss") {
  LossScene scene;
  fill_reverse_scores(scene);
  for (const auto method : kMethods) {
    const LossOutput output = compute(scene, config_of(method));
    double sum = 0.0;
    for (const auto& [name, scale] : {std::pair{"loss_forward", 1.0},
                                      {"losses_backward", 1.3},
                                      {"loss_terminal", 1.0},
                                      {"unetreg", 0.7},
                                      {"loss_reward", 1.0},
                                      {"loss_policy", 1.0}}) {
      if (output.terms.contains(name)) sum += scale * output.terms.at(name).item<double>();
    }
    INFO("method ", static_cast<int>(method));
    CHECK(sum == doctest::Approx(output.loss.item<double>()).epsilon(kOracleTolerance));
    for (const auto& [name, value] : output.terms) CHECK_FALSE(value.requires_grad());
  }
}
