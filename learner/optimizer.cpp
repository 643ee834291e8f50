#include "learner/optimizer.h"

#include "learner/checkpoint/named_tensors.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

namespace nabla {

namespace {

// "first_moment.0003", the tensors themselves.
TensorMap moments_by_name(const std::vector<std::string>& names, const std::vector<std::vector<Tensor>>& moments) {
  TensorMap tensors;
  for (std::size_t i = 0; i < moments.size(); ++i) {
    for (std::size_t j = 0; j < names.size(); ++j) tensors[fmt::format("{}.{:04}", names[j], i)] = moments[i][j];
  }
  return tensors;
}

}  // namespace

Optimizer::Optimizer(std::vector<Tensor> parameters, const std::vector<std::string>& moments)
    : parameters_(std::move(parameters)), names_(moments) {
  for (const auto& parameter : parameters_) {
    std::vector<Tensor>& own = moments_.emplace_back();
    for (std::size_t i = 0; i < names_.size(); ++i) own.push_back(at::zeros_like(parameter));
  }
}

void Optimizer::step(double lr_factor) {
  const at::NoGradGuard no_grad;
  ++steps_;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& gradient = parameters_[i].grad();
    if (gradient.defined()) move(parameters_[i], gradient, moments_[i], lr_factor);
  }
}

void Optimizer::zero_grad() {
  for (auto& parameter : parameters_) parameter.mutable_grad() = Tensor();
}

std::string Optimizer::digest() const {
  TensorMap tensors = moments_by_name(names_, moments_);
  for (std::size_t i = 0; i < parameters_.size(); ++i) tensors[fmt::format("parameter.{:04}", i)] = parameters_[i];
  return digest_of(tensors);
}

TensorMap Optimizer::state() const {
  TensorMap state = moments_by_name(names_, moments_);
  state["steps"] = torch::tensor({steps_}, at::kLong);
  return copies_of(state);
}

void Optimizer::load(const TensorMap& state) {
  Tensor steps = torch::zeros({1}, at::kLong);
  TensorMap own = moments_by_name(names_, moments_);
  own["steps"] = steps;
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
