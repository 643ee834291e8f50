#pragma once

#include "common/device/group_norm_kernel.h"

#include <ATen/core/Tensor.h>

#include <tuple>
#include <utility>

namespace nabla {

// The CUDA kernels: x a 4-dimensional channels-last tensor of float32, float16 or bfloat16 whose weight and bias are of the same type.
bool fused_group_norm_applies(const at::Tensor& x, const at::Tensor& weight);

// y and the moments [N,G,2]. Throws failure in a build without CUDA, as the backward pass does.
std::pair<at::Tensor, at::Tensor> fused_group_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                                   std::int64_t num_groups, double eps, Activation activation);

// dx, and d weight and d bias in float32.
std::tuple<at::Tensor, at::Tensor, at::Tensor> fused_group_norm_backward(const at::Tensor& dy, const at::Tensor& x,
                                                                         const at::Tensor& weight, const at::Tensor& bias,
                                                                         const at::Tensor& moments, Activation activation);

}  // namespace nabla
