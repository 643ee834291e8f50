#include "common/device/group_norm_kernel.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <vector>

namespace nabla {
namespace {

// The inner loops run over a pixel's channels: neighbours in memory, so that compilers vectorise them.

// sums[c] += f(pixel, c) over all pixels.
template <class T, class F>
void sum_over_pixels(const GroupNormShape& shape, T* __restrict__ sums, F f) {
  for (std::int64_t c = 0; c < shape.channels; ++c) sums[c] = T(0);
  for (std::int64_t p = 0; p < shape.pixels; ++p) {
    const std::int64_t at = p * shape.channels;
    for (std::int64_t c = 0; c < shape.channels; ++c) sums[c] += f(at + c, c);
  }
}

// Writes a value of each group over its channels.
template <class T, class F>
void fill_groups(const GroupNormShape& shape, T* per_channel, F value) {
  const std::int64_t width = shape.channels / shape.groups;
  for (std::int64_t g = 0; g < shape.groups; ++g) {
    const T filled = value(g);
    for (std::int64_t c = g * width; c < (g + 1) * width; ++c) per_channel[c] = filled;
  }
}

template <class T>
double sum_of_group(const GroupNormShape& shape, const T* per_channel, std::int64_t group) {
  const std::int64_t width = shape.channels / shape.groups;
  double sum = 0.0;
  for (std::int64_t c = group * width; c < (group + 1) * width; ++c) sum += per_channel[c];
  return sum;
}

// Vectors of one value a channel, for one thread.
template <class T>
struct Scratch {
  explicit Scratch(std::int64_t channels) : a(channels), b(channels), c(channels), d(channels), e(channels) {}
  std::vector<T> a, b, c, d, e;
};

// y = x * scale + shift, a number of each a channel.
template <class T>
void apply_row(const GroupNormShape& shape, const T* __restrict__ x, const T* weight, const T* bias, const T* moments, T* __restrict__ y,
               Scratch<T>& scratch) {
  T *scale = scratch.b.data(), *shift = scratch.c.data();
  fill_groups(shape, shift, [&](std::int64_t g) { return moments[2 * g]; });
  fill_groups(shape, scale, [&](std::int64_t g) { return moments[2 * g + 1]; });
  for (std::int64_t c = 0; c < shape.channels; ++c) {
    scale[c] *= weight[c];
    shift[c] = bias[c] - shift[c] * scale[c];
  }
  for (std::int64_t p = 0; p < shape.pixels; ++p) {
    const std::int64_t at = p * shape.channels;
    for (std::int64_t c = 0; c < shape.channels; ++c) y[at + c] = x[at + c] * scale[c] + shift[c];
  }
}

template <class T>
void forward_row(const GroupNormShape& shape, const T* __restrict__ x, const T* weight, const T* bias, double eps, T* __restrict__ y,
                 T* moments, Scratch<T>& scratch) {
  T *sums = scratch.a.data(), *mean = scratch.c.data();
  const double count = static_cast<double>(shape.pixels * (shape.channels / shape.groups));
  // Two passes: the second sums squares of what is already centred, which loses no digits where the mean is large.
  sum_over_pixels(shape, sums, [&](std::int64_t i, std::int64_t) { return x[i]; });
  fill_groups(shape, mean, [&](std::int64_t g) { return moments[2 * g] = static_cast<T>(sum_of_group(shape, sums, g) / count); });
  sum_over_pixels(shape, sums, [&](std::int64_t i, std::int64_t c) { return (x[i] - mean[c]) * (x[i] - mean[c]); });
  for (std::int64_t g = 0; g < shape.groups; ++g)
    moments[2 * g + 1] = static_cast<T>(1.0 / std::sqrt(sum_of_group(shape, sums, g) / count + eps));
  apply_row(shape, x, weight, bias, moments, y, scratch);
}

// With n = (x - mean) * r: dx = r * (w dy - mean(w dy) - n mean(w dy n)), means over the group.
template <class T>
void backward_row(const GroupNormShape& shape, const T* __restrict__ dy, const T* __restrict__ x, const T* weight, const T* moments,
                  T* __restrict__ dx, T* __restrict__ dweight, T* __restrict__ dbias, Scratch<T>& scratch) {
  T *mean = scratch.a.data(), *root = scratch.b.data(), *slope = scratch.c.data(), *tilt = scratch.d.data(), *offset = scratch.e.data();
  const double count = static_cast<double>(shape.pixels * (shape.channels / shape.groups));
  fill_groups(shape, mean, [&](std::int64_t g) { return moments[2 * g]; });
  fill_groups(shape, root, [&](std::int64_t g) { return moments[2 * g + 1]; });
  sum_over_pixels(shape, dbias, [&](std::int64_t i, std::int64_t) { return dy[i]; });
  sum_over_pixels(shape, dweight, [&](std::int64_t i, std::int64_t c) { return dy[i] * (x[i] - mean[c]); });
  for (std::int64_t c = 0; c < shape.channels; ++c) dweight[c] *= root[c];

  // dx = dy * slope + x * tilt + offset, a number of each a channel.
  for (std::int64_t c = 0; c < shape.channels; ++c) slope[c] = weight[c] * dweight[c];
  fill_groups(shape, tilt, [&](std::int64_t g) { return static_cast<T>(-sum_of_group(shape, slope, g) / count); });
  for (std::int64_t c = 0; c < shape.channels; ++c) slope[c] = weight[c] * dbias[c];
  fill_groups(shape, offset, [&](std::int64_t g) { return static_cast<T>(-sum_of_group(shape, slope, g) / count); });
  for (std::int64_t c = 0; c < shape.channels; ++c) {
    slope[c] = weight[c] * root[c];
    tilt[c] *= root[c] * root[c];
    offset[c] = offset[c] * root[c] - tilt[c] * mean[c];
  }
  for (std::int64_t p = 0; p < shape.pixels; ++p) {
    const std::int64_t at = p * shape.channels;
    for (std::int64_t c = 0; c < shape.channels; ++c) dx[at + c] = dy[at + c] * slope[c] + x[at + c] * tilt[c] + offset[c];
  }
}

}  // namespace

template <class T>
void group_norm_forward(const GroupNormShape& shape, const T* x, const T* weight, const T* bias, double eps, T* y, T* moments) {
  at::parallel_for(0, shape.rows, 1, [&](std::int64_t begin, std::int64_t end) {
    Scratch<T> scratch(shape.channels);
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t at = row * shape.pixels * shape.channels;
      forward_row(shape, x + at, weight, bias, eps, y + at, moments + row * shape.groups * 2, scratch);
    }
  });
}

template <class T>
void group_norm_apply(const GroupNormShape& shape, const T* x, const T* weight, const T* bias, const T* moments, T* y) {
  at::parallel_for(0, shape.rows, 1, [&](std::int64_t begin, std::int64_t end) {
    Scratch<T> scratch(shape.channels);
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t at = row * shape.pixels * shape.channels;
      apply_row(shape, x + at, weight, bias, moments + row * shape.groups * 2, y + at, scratch);
    }
  });
}

template <class T>
void group_norm_backward(const GroupNormShape& shape, const T* dy, const T* x, const T* weight, const T* moments, T* dx, T* dweight,
                         T* dbias) {
  at::parallel_for(0, shape.rows, 1, [&](std::int64_t begin, std::int64_t end) {
    Scratch<T> scratch(shape.channels);
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t at = row * shape.pixels * shape.channels;
      backward_row(shape, dy + at, x + at, weight, moments + row * shape.groups * 2, dx + at, dweight + row * shape.channels,
                   dbias + row * shape.channels, scratch);
    }
  });
}

template void group_norm_forward(const GroupNormShape&, const float*, const float*, const float*, double, float*, float*);
template void group_norm_forward(const GroupNormShape&, const double*, const double*, const double*, double, double*, double*);
template void group_norm_apply(const GroupNormShape&, const float*, const float*, const float*, const float*, float*);
template void group_norm_apply(const GroupNormShape&, const double*, const double*, const double*, const double*, double*);
template void group_norm_backward(const GroupNormShape&, const float*, const float*, const float*, const float*, float*, float*, float*);
template void group_norm_backward(const GroupNormShape&, const double*, const double*, const double*, const double*, double*, double*,
                                  double*);

}  // namespace nabla
