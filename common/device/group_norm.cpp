#include "common/device/group_norm.h"

#include "common/device/fused_group_norm.h"
#include "common/device/group_norm_kernel.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/native_group_norm.h>
#include <ATen/ops/native_group_norm_backward.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <torch/csrc/autograd/custom_function.h>

namespace nabla {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool channels_last_kernel_applies(const at::Tensor& x, const at::Tensor& weight) {
  const at::ScalarType type = x.scalar_type();
  return x.device().is_cpu() && (type == at::kFloat || type == at::kDouble) && weight.scalar_type() == type && x.dim() == 4 &&
         x.is_contiguous(at::MemoryFormat::ChannelsLast) && !x.is_contiguous();
}

GroupNormShape shape_of(const at::Tensor& x, std::int64_t num_groups) {
  return {.rows = x.size(0), .pixels = x.numel() / (x.size(0) * x.size(1)), .channels = x.size(1), .groups = num_groups};
}

template <class T>
const T* values(const at::Tensor& tensor) {
  return tensor.const_data_ptr<T>();
}

// Calls `run` with a value of x's number type, float or double.
template <class Run>
void with_type_of(const at::Tensor& x, Run run) {
  x.scalar_type() == at::kFloat ? run(float{}) : run(double{});
}

// In the memory format that ATen's kernels of the device answer in.
at::Tensor in_native_format(const at::Tensor& tensor, const at::Tensor& x) {
  return tensor.contiguous(x.is_cuda() ? at::MemoryFormat::Contiguous : x.suggest_memory_format());
}

// What a pass through the norm leaves for its gradient: moments [N,G,2], or ATen's mean and rstd.
struct Normalised {
  at::Tensor y, moments, rstd;
};

Normalised normalise(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, std::int64_t num_groups, double eps,
                     Activation activation) {
  if (fused_group_norm_applies(x, weight)) {
    const auto [y, moments] = fused_group_norm(x, weight, bias, num_groups, eps, activation);
    return {y, moments, {}};
  }
  const GroupNormShape shape = shape_of(x, num_groups);
  Normalised result;
  if (channels_last_kernel_applies(x, weight)) {
    result = {at::empty_like(x), at::empty({shape.rows, num_groups, 2}, x.options().memory_format(std::nullopt)), {}};
    with_type_of(x, [&]<class T>(T) {
      group_norm_forward<T>(shape, values<T>(x), values<T>(weight), values<T>(bias), eps, result.y.mutable_data_ptr<T>(),
                            result.moments.mutable_data_ptr<T>());
    });
  } else {
    std::tie(result.y, result.moments, result.rstd) =
        at::native_group_norm(in_native_format(x, x), weight, bias, shape.rows, shape.channels, shape.pixels, num_groups, eps);
  }
  if (activation == Activation::kSilu) at::silu_(result.y);
  return result;
}

// y before its activation, again.
at::Tensor normalise_again(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const Normalised& passed,
                           std::int64_t num_groups, double eps) {
  if (passed.rstd.defined()) return normalise(x, weight, bias, num_groups, eps, Activation::kNone).y;
  at::Tensor y = at::empty_like(x);
  with_type_of(x, [&]<class T>(T) {
    group_norm_apply<T>(shape_of(x, num_groups), values<T>(x), values<T>(weight), values<T>(bias), values<T>(passed.moments),
                        y.mutable_data_ptr<T>());
  });
  return y;
}

struct Gradients {
  at::Tensor x, weight, bias;
};

Gradients normalise_backward(const at::Tensor& dz, const at::Tensor& x, const at::Tensor& weight, const Normalised& passed,
                             std::int64_t num_groups, bool affine) {
  const GroupNormShape shape = shape_of(x, num_groups);
  if (passed.rstd.defined()) {
    const auto [dx, dweight, dbias] =
        at::native_group_norm_backward(in_native_format(dz, x), in_native_format(x, x), passed.moments, passed.rstd, weight, shape.rows,
                                       shape.channels, shape.pixels, num_groups, {true, affine, affine});
    return {dx, dweight, dbias};
  }
  const at::Tensor dy = dz.contiguous(at::MemoryFormat::ChannelsLast);
  at::Tensor dx = at::empty_like(x);
  // Per row, summed here: rows are independent, so threads need no common sum.
  at::Tensor dweight = at::empty({shape.rows, shape.channels}, weight.options()), dbias = at::empty_like(dweight);
  with_type_of(x, [&]<class T>(T) {
    group_norm_backward<T>(shape, values<T>(dy), values<T>(x), values<T>(weight), values<T>(passed.moments), dx.mutable_data_ptr<T>(),
                           dweight.mutable_data_ptr<T>(), dbias.mutable_data_ptr<T>());
  });
  return {dx, affine ? dweight.sum(0) : at::Tensor(), affine ? dbias.sum(0) : at::Tensor()};
}

// Where the backward pass is to be differentiated itself: from operators that can be.
//   dx = (g - mean(g) - n mean(g n)) / sqrt(var + eps), g = dz weight, n the normalised x; means over a row's group.
Gradients differentiable_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                  std::int64_t num_groups, double eps, Activation activation) {
  const GroupNormShape shape = shape_of(x, num_groups);
  const auto grouped = [&](const at::Tensor& tensor) { return tensor.reshape({shape.rows, shape.groups, -1}); };
  const auto per_channel = [&](const at::Tensor& tensor) { return tensor.view({1, -1, 1}); };
  const auto flat = [&](const at::Tensor& tensor) { return tensor.reshape({shape.rows, shape.channels, -1}); };
  const at::Tensor centred = grouped(x) - grouped(x).mean(2, true);
  const at::Tensor inverse = (centred.square().mean(2, true) + eps).rsqrt();
  const at::Tensor normalised = centred * inverse;
  at::Tensor dz = flat(dy);
  if (activation == Activation::kSilu) {
    const at::Tensor z = flat(normalised) * per_channel(weight) + per_channel(bias), s = at::sigmoid(z);
    dz = dz * (s * (1.0 + z * (1.0 - s)));
  }
  const at::Tensor gradient = grouped(dz * per_channel(weight));
  const at::Tensor dx = inverse * (gradient - gradient.mean(2, true) - normalised * (gradient * normalised).mean(2, true));
  return {dx.view_as(x), (dz * flat(normalised)).sum(at::IntArrayRef{0, 2}), dz.sum(at::IntArrayRef{0, 2})};
}

class GroupNormFunction : public torch::autograd::Function<GroupNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            std::int64_t num_groups, double eps, std::int64_t activation) {
    const Normalised result = normalise(x, weight, bias, num_groups, eps, static_cast<Activation>(activation));
    context->save_for_backward({x, weight, bias, result.moments, result.rstd});
    context->saved_data["num_groups"] = num_groups;
    context->saved_data["eps"] = eps;
    context->saved_data["activation"] = activation;
    return result.y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    const std::int64_t num_groups = context->saved_data["num_groups"].toInt();
    const double eps = context->saved_data["eps"].toDouble();
    const auto activation = static_cast<Activation>(context->saved_data["activation"].toInt());
    const bool affine = context->needs_input_grad(1) || context->needs_input_grad(2);
    const Gradients found = [&]() -> Gradients {
      const at::Tensor& dy = gradients[0];
      if (at::GradMode::is_enabled()) return differentiable_backward(dy, x, weight, bias, num_groups, eps, activation);
      const Normalised passed{{}, saved[3], saved[4]};
      if (fused_group_norm_applies(x, weight)) {
        const auto [dx, dweight, dbias] = fused_group_norm_backward(dy, x, weight, bias, passed.moments, activation);
        return {dx, dweight.to(weight.scalar_type()), dbias.to(bias.scalar_type())};
      }
      if (activation == Activation::kNone) return normalise_backward(dy, x, weight, passed, num_groups, affine);
      const at::Tensor dz = at::silu_backward(dy, normalise_again(x, weight, bias, passed, num_groups, eps));
      return normalise_backward(dz, x, weight, passed, num_groups, affine);
    }();
    return {found.x, affine ? found.weight : at::Tensor(), affine ? found.bias : at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor group_norm(const at::Tensor& x, std::int64_t num_groups, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  const bool ours = channels_last_kernel_applies(x, weight) || fused_group_norm_applies(x, weight) || x.is_meta();
  if (!ours) return at::group_norm(x, num_groups, weight, bias, eps);
  return GroupNormFunction::apply(x, weight, bias, num_groups, eps, static_cast<std::int64_t>(Activation::kNone));
}

at::Tensor group_norm_silu(const at::Tensor& x, std::int64_t num_groups, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  return GroupNormFunction::apply(x, weight, bias, num_groups, eps, static_cast<std::int64_t>(Activation::kSilu));
}

}  // namespace nabla
