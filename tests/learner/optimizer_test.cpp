#include "learner/adamw.h"
#include "learner/lion.h"

#include "common/json_file.h"
#include "common/philox.h"
#include "learner/lr_schedule.h"
#include "tests/common/error_check.h"
#include "tests/diffusion/parity_data.h"

#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adamw.h>

#include <cmath>

using namespace nabla;

namespace {

Tensor draw(std::vector<std::int64_t> shape, std::uint64_t index) {
  return normal_tensor(std::move(shape), Philox(2, RandomPurpose::kEvaluationNoise, index)).to(at::kDouble);
}

std::vector<Tensor> some_parameters() { return {draw({3, 4}, 1).requires_grad_(true), draw({5}, 2).requires_grad_(true)}; }

void set_gradients(std::vector<Tensor>& parameters, std::uint64_t step) {
  for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].mutable_grad() = draw(parameters[i].sizes().vec(), 100 * step + i);
}

double largest_difference(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, (a[i] - b[i]).abs().max().item<double>());
  return largest;
}

// tests/oracles/optimizers.py
nlohmann::ordered_json oracle_facts() { return read_json(parity_file("optimizers/facts.json")); }

TrainingConfig schedule(const std::string& scheduler, std::int64_t warmup, std::int64_t updates) {
  TrainingConfig training;
  // diffusers' name for a warm-up to a rate that stays.
  training.lr_scheduler = scheduler == "constant_with_warmup" ? "constant" : scheduler;
  training.lr_warmup_steps = warmup;
  training.updates = updates;
  return training;
}

// The largest difference from the oracle's parameter over its steps under a warm-up and a cosine.
template <class Rule, class Options>
double difference_from_oracle(const std::string& name, Options options) {
  const auto facts = oracle_facts().at("steps");
  options.lr = facts.at("lr");
  options.weight_decay = facts.at("weight_decay");
  const TensorMap bundle = load_tensors(parity_file("optimizers/steps.safetensors"));
  const Tensor gradients = bundle.at("gradients");
  const TrainingConfig training = schedule("cosine", facts.at("warmup"), gradients.size(0));
  Tensor parameter = bundle.at("start").clone().requires_grad_(true);
  Rule optimizer({parameter}, options);
  double largest = 0;
  for (std::int64_t update = 0; update < training.updates; ++update) {
    parameter.mutable_grad() = gradients[update];
    optimizer.step(lr_factor(training, update));
    largest = std::max(largest, largest_difference({parameter}, {bundle.at(name)[update]}));
  }
  return largest;
}

}  // namespace

TEST_CASE("AdamW steps as torch's does, and a parameter without a gradient stays") {
  const AdamWOptions options{.lr = 0.02, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .weight_decay = 0.3};
  auto ours = some_parameters(), theirs = some_parameters();
  const Tensor idle = draw({2}, 3).requires_grad_(true), idle_before = idle.detach().clone();
  auto with_idle = ours;
  with_idle.push_back(idle);
  AdamW optimizer(with_idle, options);
  torch::optim::AdamW reference(theirs, torch::optim::AdamWOptions(0.02).betas(std::make_tuple(0.8, 0.95)).eps(1e-6).weight_decay(0.3));
  for (std::uint64_t step = 1; step <= 20; ++step) {
    set_gradients(ours, step);
    set_gradients(theirs, step);
    optimizer.step();
    reference.step();
    CHECK(largest_difference(ours, theirs) < 1e-12);
  }
  CHECK(idle.equal(idle_before));
}

TEST_CASE("AdamW's first step is the closed form") {
  Tensor parameter = torch::tensor({2.0, -1.0, 0.5}, at::kDouble).requires_grad_(true);
  parameter.mutable_grad() = torch::tensor({3.0, -0.5, 1e-9}, at::kDouble);
  AdamW optimizer({parameter}, {.lr = 0.1, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.01});
  optimizer.step();
  // Bias correction undoes both decays at step 1: p (1 - lr wd) - lr g / (|g| + eps).
  const double expected[] = {2.0 * 0.999 - 0.1 * 3.0 / (3.0 + 1e-8), -1.0 * 0.999 + 0.1 * 0.5 / (0.5 + 1e-8), 0.5 * 0.999 - 0.1 / 11.0};
  for (std::int64_t i = 0; i < 3; ++i) CHECK(parameter[i].item<double>() == doctest::Approx(expected[i]).epsilon(1e-12));
}

TEST_CASE("a learning rate of zero moves nothing") {
  auto parameters = some_parameters();
  const auto before = some_parameters();
  AdamW optimizer(parameters, {.lr = 0.0, .weight_decay = 0.5});
  set_gradients(parameters, 1);
  optimizer.step();
  CHECK(largest_difference(parameters, before) == 0.0);
}

TEST_CASE("gradients are gone after zero_grad") {
  auto parameters = some_parameters();
  AdamW optimizer(parameters, {});
  set_gradients(parameters, 1);
  optimizer.zero_grad();
  for (const auto& parameter : optimizer.parameters()) CHECK_FALSE(parameter.grad().defined());
}

TEST_CASE("the norm is clipped as torch clips it, and a small one is left alone") {
  for (const double max_norm : {0.5, 1e3}) {
    auto ours = some_parameters(), theirs = some_parameters();
    set_gradients(ours, 1);
    set_gradients(theirs, 1);
    const double norm = clip_grad_norm(ours, max_norm);
    CHECK(norm == doctest::Approx(torch::nn::utils::clip_grad_norm_(theirs, max_norm)).epsilon(1e-12));
    for (std::size_t i = 0; i < ours.size(); ++i) CHECK((ours[i].grad() - theirs[i].grad()).abs().max().item<double>() < 1e-12);
  }
}

TEST_CASE("without any gradient the norm is zero") { CHECK(clip_grad_norm(some_parameters(), 1.0) == 0.0); }

TEST_CASE("a norm that is not finite is reported as it is") {
  auto parameters = some_parameters();
  set_gradients(parameters, 1);
  parameters[0].mutable_grad().fill_(INFINITY);
  CHECK(std::isinf(clip_grad_norm(parameters, 1.0)));
  parameters[0].mutable_grad().fill_(NAN);
  CHECK(std::isnan(clip_grad_norm(parameters, 1.0)));
}

TEST_CASE("AdamW and Lion under a schedule step as torch and the paper's program do") {
  CHECK(difference_from_oracle<AdamW>("adamw", AdamWOptions{.beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6}) < 1e-12);
  CHECK(difference_from_oracle<Lion>("lion", LionOptions{.beta1 = 0.9, .beta2 = 0.99}) < 1e-12);
  CHECK(difference_from_oracle<Lion>("lion", LionOptions{.beta1 = 0.99, .beta2 = 0.9}) > 1e-3);
}

TEST_CASE("Lion moves every element by the learning rate, against the sign of momentum and gradient together") {
  Tensor parameter = torch::tensor({2.0, -1.0, 0.5}, at::kDouble).requires_grad_(true);
  parameter.mutable_grad() = torch::tensor({3.0, -0.5, 0.0}, at::kDouble);
  Lion optimizer({parameter}, {.lr = 0.1, .beta1 = 0.5, .beta2 = 0.9, .weight_decay = 0.5});
  optimizer.step();
  // p (1 - lr wd) - lr sign(g); momentum 0.1 g.
  CHECK(largest_difference({parameter}, {torch::tensor({1.9 - 0.1, -0.95 + 0.1, 0.475}, at::kDouble)}) < 1e-12);
  CHECK(optimizer.state().at("momentum.0000").allclose(torch::tensor({0.3, -0.05, 0.0}, at::kDouble), 1e-12));
  // Against a gradient that is smaller than the momentum the direction stays; the last element's first gradient decides.
  parameter.mutable_grad() = torch::tensor({-0.2, 0.01, 1.0}, at::kDouble);
  optimizer.step();
  CHECK(largest_difference({parameter}, {torch::tensor({1.8 * 0.95 - 0.1, -0.85 * 0.95 + 0.1, 0.475 * 0.95 - 0.1}, at::kDouble)}) < 1e-12);
}

TEST_CASE("moments and steps come back bit by bit, and those of another optimizer are refused") {
  auto straight = some_parameters();
  AdamW adamw(straight, {});
  Lion lion(straight, {});
  for (Optimizer* optimizer : {static_cast<Optimizer*>(&adamw), static_cast<Optimizer*>(&lion)}) {
    set_gradients(straight, 1);
    optimizer->step();
  }
  auto other = some_parameters();
  AdamW other_adamw(other, {});
  Lion other_lion(other, {});
  other_adamw.load(adamw.state());
  other_lion.load(lion.state());
  for (std::size_t i = 0; i < other.size(); ++i) other[i].detach().copy_(straight[i].detach());
  CHECK(other_adamw.digest() == adamw.digest());
  CHECK(other_lion.digest() == lion.digest());
  check_error(
      ExitCode::kData, [&] { other_lion.load(adamw.state()); }, "first_moment.0000", "belongs to no part");
}

TEST_CASE("learning rates follow diffusers' schedules") {
  const auto facts = oracle_facts();
  for (const auto& known : facts.at("schedules")) {
    const std::string name = known.at("scheduler");
    INFO(name);
    const TrainingConfig training = schedule(name, known.at("warmup"), known.at("updates"));
    for (std::int64_t update = 0; update < training.updates; ++update)
      CHECK(lr_factor(training, update) ==
            doctest::Approx(known.at("factors").at(static_cast<std::size_t>(update)).get<double>()).epsilon(1e-12));
  }
  CHECK(lr_factor(TrainingConfig{}, 12345) == 1.0);
}
