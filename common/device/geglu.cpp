#include "common/device/geglu.h"

#include "common/error.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <torch/csrc/autograd/custom_function.h>

namespace nabla {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool kernel_applies(const at::Tensor& projected) {
  const at::ScalarType type = projected.scalar_type();
  return projected.is_cuda() && (type == at::kFloat || type == at::kHalf || type == at::kBFloat16);
}

at::Tensor activated(const at::Tensor& gates, Gate gate) { return gate == Gate::kGelu ? at::gelu(gates) : at::silu(gates); }

// d gates from d activated(gates), of operators that can be differentiated.
at::Tensor gate_gradient(const at::Tensor& gradient, const at::Tensor& gates, Gate gate) {
  if (gate == Gate::kGelu) return at::gelu_backward(gradient, gates);
  const at::Tensor s = at::sigmoid(gates);
  return gradient * (s * (1.0 + gates * (1.0 - s)));
}

// Keeps the projection alone; the activated gates are computed again for the gradient.
class GatedLinearUnit : public torch::autograd::Function<GatedLinearUnit> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& projected, std::int64_t gate) {
    context->save_for_backward({projected});
    context->saved_data["gate"] = gate;
    const auto kind = static_cast<Gate>(gate);
    return kernel_applies(projected) ? fused_gated_linear_unit(projected, kind) : unfused_gated_linear_unit(projected, kind);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto gate = static_cast<Gate>(context->saved_data["gate"].toInt());
    const std::vector<at::Tensor> halves = context->get_saved_variables()[0].chunk(2, -1);
    const at::Tensor& dy = gradients[0];
    return {at::cat({dy * activated(halves[1], gate), gate_gradient(dy * halves[0], halves[1], gate)}, -1), at::Tensor()};
  }
};

}  // namespace

at::Tensor unfused_gated_linear_unit(const at::Tensor& projected, Gate gate) {
  const std::vector<at::Tensor> halves = projected.chunk(2, -1);
  return halves[0].mul(activated(halves[1], gate));
}

at::Tensor gated_linear_unit(const at::Tensor& projected, Gate gate) {
  if (projected.dim() == 0 || projected.size(-1) % 2 != 0)
    throw failure("[geglu] the last size must be even (values, then gates); the tensor has {} dimensions, the last of size {}",
                  projected.dim(), projected.dim() == 0 ? 0 : projected.size(-1));
  return GatedLinearUnit::apply(projected, static_cast<std::int64_t>(gate));
}

}  // namespace nabla
