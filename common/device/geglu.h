#pragma once

#include "common/device/geglu_kernel.h"

#include <ATen/core/Tensor.h>

namespace nabla {

// Letters: F features after gating.

// projected [..., 2F] -> [..., F]: the first half times the activation of the second (GEGLU: Gate::kGelu). Differentiable twice; the graph keeps `projected`
// alone. On a CUDA device one fused kernel forward, else ATen operators of equal result. Throws failure for an odd last size.
at::Tensor gated_linear_unit(const at::Tensor& projected, Gate gate);

// The ATen form, on any device.
at::Tensor unfused_gated_linear_unit(const at::Tensor& projected, Gate gate);

// The kernel. projected: a CUDA tensor of float32, float16 or bfloat16. Throws failure elsewhere, and in a build without CUDA.
at::Tensor fused_gated_linear_unit(const at::Tensor& projected, Gate gate);

}  // namespace nabla
