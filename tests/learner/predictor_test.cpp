#include "learner/predictor.h"

#include "common/diffusion/initialization.h"
#include "learner/losses/objective.h"
#include "tests/diffusion/tiny_configs.h"
#include "tests/learner/loss_scene.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <functional>

using namespace nabla;
using namespace nabla::testing;

// Networks and rows in float64, small enough for finite differences.

namespace {

constexpr std::int64_t kPredictorRows = 3;

std::shared_ptr<UNet2DConditionModel> make_network(std::uint64_t seed, bool trained) {
  auto network = std::make_shared<UNet2DConditionModel>(tiny_unet_config(4, 6));
  initialize_parameters(*network, seed);
  network->to(at::kDouble);
  for (auto& parameter : network->parameters()) parameter.requires_grad_(trained);
  return network;
}

struct PredictorScene {
  explicit PredictorScene(double guidance = 3.0)
      : policy(make_network(1, false), LoraConfig{.rank = 2, .alpha = 2.0}, guidance, 5), flow(make_network(2, true)) {
    TensorMap lora;
    for (const auto& [name, tensor] : policy.lora().tensors()) lora[name] = 0.3 * draw(tensor.sizes().vec());
    policy.load(lora);
    policy.lora().require_grad(true);
    SchedulerConfig schedule{.beta_start = 0.00085, .beta_end = 0.012, .beta_schedule = "scaled_linear", .steps_offset = 1};
    schedule.set_alpha_to_one = schedule.clip_sample = false;
    const StepTable table = make_step_table(schedule, Sampler::kDdim, 10, 1.0);
    for (const std::size_t step : {2, 6, 9}) rows.push_back(table.transitions[step]);
    set_transitions(batch, rows, at::kDouble);
    batch.x = draw({kPredictorRows, 4, 4, 4});
    batch.y = batch.x + 0.2 * draw({kPredictorRows, 4, 4, 4});
    batch.is_terminal = torch::tensor({0, 0, 1}, at::kLong).to(at::kBool);
    batch.slot_weight = at::full({kPredictorRows}, 1.0 / kPredictorRows, at::kDouble);
    batch.num_slots = 1;
    conditioning = {draw({kPredictorRows, 5, 6}), draw({1, 5, 6})};
    for (Tensor* tensor :
         {&batch.eps_reference, &batch.eps_behaviour, &batch.reward_grad_x, &batch.reward_grad_y, &batch.reverse_score_reference})
      *tensor = draw({kPredictorRows, 4, 4, 4});
  }

  Tensor draw(std::vector<std::int64_t> shape) {
    return normal_tensor(std::move(shape), Philox(9, RandomPurpose::kEvaluationNoise, ++draws)).to(at::kDouble);
  }

  Predictions predict(const ObjectiveConfig& objective, Predictor::FlowPrompt prompt = Predictor::FlowPrompt::kOwn) {
    return Predictor(policy, flow, objective, prompt).predict(batch, conditioning);
  }

  std::uint64_t draws = 0;
  Policy policy;
  std::shared_ptr<UNet2DConditionModel> flow;
  std::vector<Transition> rows;
  TransitionBatch batch;
  Conditioning conditioning;
};

ObjectiveConfig true_gradient() {
  ObjectiveConfig objective{.reward_scale = 1.0, .reverse_loss_scale = 1.3, .unet_reg_scale = 0.0};
  objective.reverse_target = ReverseTarget::kTrueGradient;
  return objective;
}

}  // namespace

TEST_CASE("the recomputed reverse score is the gradient of the transition's density") {
  for (const double guidance : {1.0, 3.0}) {
    PredictorScene scene(guidance);
    const Predictions predictions = scene.predict(true_gradient());
    for (std::int64_t row = 0; row < kPredictorRows; ++row) {
      const Transition& transition = scene.rows[static_cast<std::size_t>(row)];
      const Tensor x = scene.batch.x.narrow(0, row, 1).clone().requires_grad_(true);
      const Conditioning own{scene.conditioning.prompt_embeds.narrow(0, row, 1), scene.conditioning.negative_embeds};
      const Tensor eps = scene.policy.predict(WeightMode::kAdapter, x, torch::tensor({transition.timestep}, at::kLong), own);
      const Tensor mean = transition.x_coefficient * x - transition.noise_coefficient * eps;
      const Tensor density = (scene.batch.y.narrow(0, row, 1) - mean).square().sum() / (-2.0 * transition.sigma * transition.sigma);
      CHECK(relative_difference(predictions.reverse_score.narrow(0, row, 1), torch::autograd::grad({density}, {x})[0]) < 1e-9);
    }
  }
}

TEST_CASE("the gradient of the recomputed reverse loss in the LoRA is a finite difference, through every layer twice") {
  PredictorScene scene;
  const auto objective = make_objective(true_gradient());
  const auto reverse_loss = [&] {
    const LossOutput output = objective->compute(scene.batch, scene.predict(true_gradient()));
    return output.terms.at("losses_backward").item<double>();
  };
  ObjectiveConfig without = true_gradient();
  without.reverse_loss_scale = 0.0;
  const auto parameters = scene.policy.lora().parameters();
  const auto gradients_of = [&](const ObjectiveConfig& config) {
    return torch::autograd::grad({make_objective(config)->compute(scene.batch, scene.predict(config)).loss}, parameters);
  };
  const auto whole = gradients_of(true_gradient()), forward = gradients_of(without);
  constexpr double kStep = 1e-5;
  for (std::size_t i = 0; i < parameters.size(); i += 3) {
    double* at = parameters[i].data_ptr<double>();
    const double middle = at[0];
    at[0] = middle + kStep;
    const double above = reverse_loss();
    at[0] = middle - kStep;
    const double below = reverse_loss();
    at[0] = middle;
    const double ours = (whole[i] - forward[i]).flatten()[0].item<double>() / 1.3;
    INFO("parameter ", i);
    CHECK(ours == doctest::Approx((above - below) / (2 * kStep)).epsilon(1e-4));
  }
}

TEST_CASE("a recomputed reverse score costs one more vector-Jacobian product a row") {
  PredictorScene scene;
  const auto backwards_of = [&](const ObjectiveConfig& objective) {
    scene.policy.counters = {};
    make_objective(objective)->compute(scene.batch, scene.predict(objective)).loss.backward();
    CHECK(scene.policy.counters.forwards == kPredictorRows);
    return scene.policy.counters.backwards;
  };
  scene.batch.reverse_score_policy = scene.draw({kPredictorRows, 4, 4, 4});
  CHECK(backwards_of({.reward_scale = 1.0}) == kPredictorRows);
  CHECK(backwards_of(true_gradient()) == 2 * kPredictorRows);
}

TEST_CASE("a flow network that is not conditioned on the prompt sees the empty one") {
  PredictorScene scene;
  const ObjectiveConfig objective;
  const Tensor own = scene.predict(objective).flow_x;
  const Tensor unconditional = scene.predict(objective, Predictor::FlowPrompt::kEmpty).flow_x;
  CHECK(relative_difference(unconditional, own) > 1e-3);
  const Tensor embeds = scene.conditioning.negative_embeds.expand({kPredictorRows, -1, -1}).contiguous();
  CHECK(relative_difference(unconditional, scene.flow->forward(scene.batch.x, scene.batch.timestep, embeds)) < 1e-12);
  CHECK(relative_difference(own, scene.flow->forward(scene.batch.x, scene.batch.timestep, scene.conditioning.prompt_embeds)) < 1e-12);
}
