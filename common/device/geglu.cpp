#include "common/device/geglu.h"

#include "common/error.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/silu.h>

namespace nabla {
namespace {

bool kernel_applies(const at::Tensor& projected) {
  const bool records_gradient = at::GradMode::is_enabled() && projected.requires_grad();
  const at::ScalarType type = projected.scalar_type();
  return projected.is_cuda() && !records_gradient && (type == at::kFloat || type == at::kHalf || type == at::kBFloat16);
}

}  // namespace

at::Tensor unfused_gated_linear_unit(const at::Tensor& projected, Gate gate) {
  const std::vector<at::Tensor> halves = projected.chunk(2, -1);
  return halves[0].mul(gate == Gate::kGelu ? at::gelu(halves[1]) : at::silu(halves[1]));
}

at::Tensor gated_linear_unit(const at::Tensor& projected, Gate gate) {
  if (projected.dim() == 0 || projected.size(-1) % 2 != 0)
    throw failure("[geglu] the last size must be even (values, then gates); the tensor has {} dimensions, the last of size {}",
                  projected.dim(), projected.dim() == 0 ? 0 : projected.size(-1));
  return kernel_applies(projected) ? fused_gated_linear_unit(projected, gate) : unfused_gated_linear_unit(projected, gate);
}

}  // namespace nabla
