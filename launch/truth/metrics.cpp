#include "launch/truth/metrics.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace nabla::truth {

namespace {

constexpr std::int64_t kDirections = 64;
constexpr std::int64_t kKernelSamples = 2000;

}  // namespace

Tensor mode_weights(const Mixture& mixture, const Tensor& samples) {
  // What is no number belongs to no mode; the largest of its logits would be the first.
  if (!samples.isfinite().all().item<bool>()) return at::full_like(mixture.weights, std::numeric_limits<double>::quiet_NaN());
  const Tensor counts = at::bincount(MixtureDensity(mixture).most_likely_mode(samples), {}, mixture.weights.size(0));
  return counts.to(at::kDouble) / static_cast<double>(samples.size(0));
}

double kl_of_weights(const Tensor& found, const Tensor& expected) { return at::xlogy(found, found / expected).sum().item<double>(); }

double sliced_w1(const Tensor& a, const Tensor& b) {
  const Tensor angle = at::arange(kDirections, at::kDouble) * (std::numbers::pi / static_cast<double>(kDirections));
  const Tensor directions = at::stack({angle.cos(), angle.sin()});
  const auto projected = [&](const Tensor& points) { return std::get<0>(points.matmul(directions).sort(0)); };
  return (projected(a) - projected(b)).abs().mean().item<double>();
}

double mean_discrepancy(const Tensor& a, const Tensor& b) {
  const std::int64_t count = std::min({a.size(0), b.size(0), kKernelSamples});
  const Tensor first = a.narrow(0, 0, count), second = b.narrow(0, 0, count);
  const Tensor across = at::cdist(first, second);
  const double width = across.median().item<double>();
  const auto kernel = [&](const Tensor& distances) { return (distances.square() / (-2.0 * width * width)).exp().sum().item<double>(); };
  const auto n = static_cast<double>(count);
  // Without the diagonal, where a sample meets itself.
  const double within = kernel(at::cdist(first, first)) + kernel(at::cdist(second, second)) - 2.0 * n;
  return std::sqrt(std::max(0.0, within / (n * (n - 1.0)) - 2.0 * kernel(across) / (n * n)));
}

}  // namespace nabla::truth
