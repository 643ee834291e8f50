#include "learner/group/gradient_exchange.h"

#include <torch/types.h>

#include <utility>

namespace nabla {

GradientExchange::GradientExchange(ProcessGroup& group, std::vector<Tensor> parameters)
    : group_(group), parameters_(std::move(parameters)) {
  if (group_.size() == 1 || parameters_.empty()) return;
  std::int64_t elements = 0;
  for (const auto& parameter : parameters_) elements += parameter.numel();
  bucket_ = torch::zeros({elements}, parameters_.front().options().requires_grad(false).device(at::kCPU));
  std::int64_t start = 0;
  for (const auto& parameter : parameters_) {
    places_.push_back(bucket_.narrow(0, start, parameter.numel()).view(parameter.sizes()));
    start += parameter.numel();
  }
}

std::vector<bool> GradientExchange::present() const {
  std::vector<bool> present;
  for (const auto& parameter : parameters_) present.push_back(parameter.grad().defined());
  return present;
}

void GradientExchange::sum(const std::vector<bool>& present_anywhere) {
  if (!bucket_.defined()) return;
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i].grad().defined()) {
      places_[i].copy_(parameters_[i].grad());
    } else {
      places_[i].zero_();
    }
  }
  group_.all_reduce_sum(bucket_);
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    if (present_anywhere[i]) parameters_[i].mutable_grad() = places_[i].to(parameters_[i].device());
}

}  // namespace nabla
