#include "common/pocket/lantern.h"

#include <torch/types.h>

namespace nabla::pocket {

namespace {

constexpr double kCentreSigma = 7.0;  // pixels

// Gaussian of height 1 at the picture's centre: [H,W].
Tensor centre_window(std::int64_t height, std::int64_t width, const at::TensorOptions& options) {
  const Tensor y = at::arange(height, options) - 0.5 * static_cast<double>(height - 1);
  const Tensor x = at::arange(width, options) - 0.5 * static_cast<double>(width - 1);
  const Tensor distance_square = y.square().unsqueeze(1) + x.square().unsqueeze(0);
  return (distance_square * (-0.5 / (kCentreSigma * kCentreSigma))).exp();
}

// Zero at the wish, growing linearly far from it, so that overshoot is punished but bounded in slope.
Tensor regret(const Tensor& distance) { return 3.0 * ((1.0 + distance.square()).sqrt() - 1.0); }

}  // namespace

Tensor lantern_preference(const Tensor& images) {
  const Tensor red = images.select(1, 0), green = images.select(1, 1), blue = images.select(1, 2);
  const Tensor luminance = 0.299 * red + 0.587 * green + 0.114 * blue;
  const Tensor window = centre_window(images.size(2), images.size(3), images.options());
  const Tensor centre = (luminance * window).sum({1, 2}) / window.sum();
  const Tensor ground = (luminance * (1.0 - window)).sum({1, 2}) / (1.0 - window).sum();
  const Tensor warmth = (red - blue).mean({1, 2});
  return 10.0 - regret((warmth - 0.25) / 0.30) - regret((centre - ground - 0.20) / 0.10);
}

}  // namespace nabla::pocket
