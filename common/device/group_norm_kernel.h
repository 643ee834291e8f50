#pragma once

#include <cstdint>

namespace nabla {

// What follows the norm.
enum class Activation { kNone, kSilu };

// Memory: x, y and their gradients [rows, pixels, channels]; weight and bias [channels]; moments [rows, groups, 2] = mean, 1/sqrt(var + eps).
struct GroupNormShape {
  std::int64_t rows = 0, pixels = 0, channels = 0, groups = 0;  // channels is a multiple of groups
};

// T: float or double; both runs spread rows over the threads LibTorch has.
template <class T>
void group_norm_forward(const GroupNormShape& shape, const T* x, const T* weight, const T* bias, double eps, T* y, T* moments);

// The last part of the forward pass, from its moments: the same y.
template <class T>
void group_norm_apply(const GroupNormShape& shape, const T* x, const T* weight, const T* bias, const T* moments, T* y);

// dweight and dbias [rows, channels]: each row's part.
template <class T>
void group_norm_backward(const GroupNormShape& shape, const T* dy, const T* x, const T* weight, const T* moments, T* dx, T* dweight,
                         T* dbias);

}  // namespace nabla
