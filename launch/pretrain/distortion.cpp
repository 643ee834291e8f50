#include "launch/pretrain/distortion.h"

#include <torch/types.h>

namespace nabla {

namespace {

// One number a row: [N,1,1,1].
template <class Get>
Tensor column(const std::vector<Distortion>& rows, Get get) {
  std::vector<float> values;
  for (const auto& row : rows) values.push_back(static_cast<float>(get(row)));
  return torch::tensor(values).view({-1, 1, 1, 1});
}

// One number a row and channel: [N,3,1,1].
template <class Get>
Tensor channel_columns(const std::vector<Distortion>& rows, Get get) {
  std::vector<float> values;
  for (const auto& row : rows) {
    for (const double value : get(row)) values.push_back(static_cast<float>(value));
  }
  return torch::tensor(values).view({-1, 3, 1, 1});
}

// [N,1,H,W], height 1.
Tensor glow_windows(const std::vector<Distortion>& rows, std::int64_t height, std::int64_t width) {
  const Tensor y = at::arange(height, at::kFloat).view({1, 1, -1, 1}) - column(rows, [](const auto& row) { return row.glow_y; });
  const Tensor x = at::arange(width, at::kFloat).view({1, 1, 1, -1}) - column(rows, [](const auto& row) { return row.glow_x; });
  const Tensor sigma = column(rows, [](const auto& row) { return row.glow_sigma; });
  return (-0.5 * (x.square() + y.square()) / sigma.square()).exp();
}

Tensor box_blur(const Tensor& images) {
  const Tensor padded = at::replication_pad2d(images, {1, 1, 1, 1});
  return at::avg_pool2d(padded, {3, 3}, {1, 1});
}

Tensor blur(const Tensor& images, const Tensor& strength) {
  const Tensor light = box_blur(box_blur(images));
  const Tensor heavy =
      at::upsample_bilinear2d(at::avg_pool2d(images, {4, 4}), {images.size(2), images.size(3)}, false, std::nullopt, std::nullopt);
  const Tensor slightly = images + strength.clamp(0.0, 1.0) * (light - images);
  return slightly + (strength - 1.0).clamp(0.0, 1.0) * (heavy - slightly);
}

}  // namespace

Tensor distort(const Tensor& images, const std::vector<Distortion>& rows, const Philox& noise) {
  const Tensor gain = channel_columns(rows, [](const auto& row) { return row.gain; });
  const Tensor offset = channel_columns(rows, [](const auto& row) { return row.offset; });
  const Tensor glow = channel_columns(rows, [](const auto& row) { return row.glow; });
  const Tensor lit = images * gain + offset + glow * glow_windows(rows, images.size(2), images.size(3));
  const Tensor smooth = blur(lit, column(rows, [](const auto& row) { return row.blur; }));
  const Tensor deviation = column(rows, [](const auto& row) { return row.noise; });
  return (smooth + deviation * normal_tensor(images.sizes().vec(), noise)).clamp(0.0, 1.0);
}

double between(Philox& random, double low, double high) { return low + (high - low) * random.uniform(); }

std::array<double, 3> three_between(Philox& random, double low, double high) {
  std::array<double, 3> values{};
  for (auto& value : values) value = between(random, low, high);
  return values;
}

}  // namespace nabla
