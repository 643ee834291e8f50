#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace nabla {

// at::conv2d with the same stride and padding in both directions. Where gradients are recorded to x alone, the graph keeps the weight and not x: a convolution's
// gradient in its input does not ask for the input, but LibTorch 2.11 keeps it alive all the same. Same numbers, differentiable twice.
at::Tensor conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, std::int64_t stride, std::int64_t padding);

}  // namespace nabla
