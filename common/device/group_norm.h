#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace nabla {

// Letters: N rows, C channels, G groups of C/G neighbouring channels.

// Group normalisation: x [N,C,...] -> [N,C,...], (x - mean) / sqrt(var + eps) * weight + bias, mean and (biased) variance over a row's group.
// weight, bias [C]. Differentiable twice. Keeps x's memory format. float32 and float64 on the CPU in channels-last memory take a kernel of our
// own, since ATen's costs there five times what it costs on contiguous memory (LibTorch 2.11); everything else is ATen's.
at::Tensor group_norm(const at::Tensor& x, std::int64_t num_groups, const at::Tensor& weight, const at::Tensor& bias, double eps);

}  // namespace nabla
