#include "learner/optimizer.h"

#include "common/philox.h"
#include "tests/testing.h"

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
