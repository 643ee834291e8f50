#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace nabla {

// Letters: N rows, C channels, G groups of C/G neighbouring channels.

// Group normalisation: x [N,C,...] -> [N,C,...], (x - mean) / sqrt(var + eps) * weight + bias, mean and (biased) variance over a row's group.
// weight, bias [C]. Differentiable twice. Keeps x's memory format. Channels-last memory takes kernels of our own: float32 and float64 on the CPU, since ATen's
// costs there five times what it costs on contiguous memory (LibTorch 2.11), and on a GPU, where ATen's answers in contiguous memory. Everything else is ATen's.
at::Tensor group_norm(const at::Tensor& x, std::int64_t num_groups, const at::Tensor& weight, const at::Tensor& bias, double eps);

// silu(group_norm(...)). The graph keeps x and the moments; what lies between norm and activation is computed again for the gradient.
at::Tensor group_norm_silu(const at::Tensor& x, std::int64_t num_groups, const at::Tensor& weight, const at::Tensor& bias, double eps);

}  // namespace nabla
