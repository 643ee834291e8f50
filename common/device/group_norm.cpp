#include "common/device/group_norm.h"

#include "common/device/group_norm_kernel.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/group_norm.h>
#include <torch/csrc/autograd/custom_function.h>

namespace nabla {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool kernel_applies(const at::Tensor& x, const at::Tensor& weight) {
  const at::ScalarType type = x.scalar_type();
  return x.device().is_cpu() && (type == at::kFloat || type == at::kDouble) && weight.scalar_type() == type && x.dim() == 4 &&
         x.is_contiguous(at::MemoryFormat::ChannelsLast) && !x.is_contiguous();
}

GroupNormShape shape_of(const at::Tensor& x, std::int64_t num_groups) {
  return {.rows = x.size(0), .pixels = x.size(2) * x.size(3), .channels = x.size(1), .groups = num_groups};
}

template <class T>
const T* values(const at::Tensor& tensor) {
  return tensor.const_data_ptr<T>();
}

class ChannelsLastGroupNorm : public torch::autograd::Function<ChannelsLastGroupNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            std::int64_t num_groups, double eps) {
    at::Tensor y = at::empty_like(x);
    at::Tensor moments = at::empty({x.size(0), num_groups, 2}, x.options().memory_format(std::nullopt));
    const GroupNormShape shape = shape_of(x, num_groups);
    const auto run = [&]<class T>(T) {
      group_norm_forward<T>(shape, values<T>(x), values<T>(weight), values<T>(bias), eps, y.mutable_data_ptr<T>(),
                            moments.mutable_data_ptr<T>());
    };
    x.scalar_type() == at::kFloat ? run(float{}) : run(double{});
    context->save_for_backward({x, weight, moments});
    context->saved_data["num_groups"] = num_groups;
    context->saved_data["eps"] = eps;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    if (at::GradMode::is_enabled()) return differentiable_backward(context, gradients[0]);
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &moments = saved[2];
    const GroupNormShape shape = shape_of(x, context->saved_data["num_groups"].toInt());
    const at::Tensor dy = gradients[0].contiguous(at::MemoryFormat::ChannelsLast);
    at::Tensor dx = at::empty_like(x);
    // Per row, summed here: rows are independent, so threads need no common sum.
    at::Tensor dweight = at::empty({shape.rows, shape.channels}, weight.options()), dbias = at::empty_like(dweight);
    const auto run = [&]<class T>(T) {
      group_norm_backward<T>(shape, values<T>(dy), values<T>(x), values<T>(weight), values<T>(moments), dx.mutable_data_ptr<T>(),
                             dweight.mutable_data_ptr<T>(), dbias.mutable_data_ptr<T>());
    };
    x.scalar_type() == at::kFloat ? run(float{}) : run(double{});
    const bool affine = context->needs_input_grad(1) || context->needs_input_grad(2);
    return {dx, affine ? dweight.sum(0) : at::Tensor(), affine ? dbias.sum(0) : at::Tensor(), at::Tensor(), at::Tensor()};
  }

 private:
  // The backward pass is to be differentiated itself: x's gradient from operators that can be.
  //   dx = (g - mean(g) - n mean(g n)) / sqrt(var + eps), g = dy weight, n the normalised x; means over a row's group.
  static variable_list differentiable_backward(AutogradContext* context, const at::Tensor& dy) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const GroupNormShape shape = shape_of(x, context->saved_data["num_groups"].toInt());
    const auto grouped = [&](const at::Tensor& tensor) { return tensor.reshape({shape.rows, shape.groups, -1}); };
    const at::Tensor centred = grouped(x) - grouped(x).mean(2, true);
    const at::Tensor inverse = (centred.square().mean(2, true) + context->saved_data["eps"].toDouble()).rsqrt();
    const at::Tensor normalised = centred * inverse;
    const at::Tensor gradient = grouped(dy * weight.view({1, -1, 1, 1}));
    const at::Tensor dx = inverse * (gradient - gradient.mean(2, true) - normalised * (gradient * normalised).mean(2, true));
    const bool affine = context->needs_input_grad(1) || context->needs_input_grad(2);
    const at::Tensor dweight = affine ? (dy * normalised.view_as(x)).sum({0, 2, 3}) : at::Tensor();
    return {dx.view_as(x), dweight, affine ? dy.sum({0, 2, 3}) : at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor group_norm(const at::Tensor& x, std::int64_t num_groups, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  if (!kernel_applies(x, weight)) return at::group_norm(x, num_groups, weight, bias, eps);
  return ChannelsLastGroupNorm::apply(x, weight, bias, num_groups, eps);
}

}  // namespace nabla
