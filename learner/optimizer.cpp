#include "learner/optimizer.h"

#include "learner/checkpoint/named_tensors.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

namespace nabla {

AdamW::AdamW(std::vector<Tensor> parameters, const AdamWOptions& options) : parameters_(std::move(parameters)), options_(options) {
  for (const auto& parameter : parameters_) {
    first_moment_.push_back(at::zeros_like(parameter));
    second_moment_.push_back(at::zeros_like(parameter));
  }
}

std::string AdamW::digest() const {
  TensorMap tensors;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    tensors[fmt::format("parameter.{:06}", i)] = parameters_[i];
    tensors[fmt::format("first_moment.{:06}", i)] = first_moment_[i];
    tensors[fmt::format("second_moment.{:06}", i)] = second_moment_[i];
  }
  return digest_of(tensors);
}

void AdamW::step() {
  const at::NoGradGuard no_grad;
  ++steps_;
  const double correction1 = 1.0 - std::pow(options_.beta1, static_cast<double>(steps_));
  const double correction2 = std::sqrt(1.0 - std::pow(options_.beta2, static_cast<double>(steps_)));
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Tensor& parameter = parameters_[i];
    const Tensor& gradient = parameter.grad();
    if (!gradient.defined()) continue;
    if (options_.weight_decay != 0.0) parameter.mul_(1.0 - options_.lr * options_.weight_decay);
    first_moment_[i].lerp_(gradient, 1.0 - options_.beta1);
    second_moment_[i].mul_(options_.beta2).addcmul_(gradient, gradient, 1.0 - options_.beta2);
    const Tensor denominator = (second_moment_[i].sqrt() / correction2).add_(options_.epsilon);
    parameter.addcdiv_(first_moment_[i], denominator, -options_.lr / correction1);
  }
}

void AdamW::zero_grad() {
  for (auto& parameter : parameters_) parameter.mutable_grad() = Tensor();
}

TensorMap AdamW::state() const {
  TensorMap state{{"steps", torch::tensor({steps_}, at::kLong)}};
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    state[fmt::format("first_moment.{:04}", i)] = first_moment_[i];
    state[fmt::format("second_moment.{:04}", i)] = second_moment_[i];
  }
  return copies_of(state);
}

void AdamW::load(const TensorMap& state) {
  Tensor steps = torch::zeros({1}, at::kLong);
  TensorMap own{{"steps", steps}};
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    own[fmt::format("first_moment.{:04}", i)] = first_moment_[i];
    own[fmt::format("second_moment.{:04}", i)] = second_moment_[i];
  }
  copy_values("optimiser state", state, own);
  steps_ = steps.item<std::int64_t>();
}

void scale_gradients(const std::vector<Tensor>& parameters, double factor) {
  const at::NoGradGuard no_grad;
  for (const auto& parameter : parameters) {
    if (parameter.grad().defined()) parameter.grad().mul_(factor);
  }
}

double clip_grad_norm(const std::vector<Tensor>& parameters, double max_norm) {
  std::vector<Tensor> squares;
  for (const auto& parameter : parameters) {
    if (parameter.grad().defined()) squares.push_back(parameter.grad().to(at::kDouble).square().sum());
  }
  if (squares.empty()) return 0.0;
  const double norm = std::sqrt(at::stack(squares).sum().item<double>());
  const double factor = max_norm / (norm + 1e-6);
  if (factor < 1.0) scale_gradients(parameters, factor);
  return norm;
}

}  // namespace nabla
