#include "common/device/frozen_conv.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

namespace nabla {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor plain_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, std::int64_t stride, std::int64_t padding) {
  return at::conv2d(x, weight, bias, {stride, stride}, at::IntArrayRef{padding, padding});
}

bool is_frozen(const at::Tensor& weight, const at::Tensor& bias) {
  return !weight.requires_grad() && !(bias.defined() && bias.requires_grad());
}

class FrozenConv2d : public torch::autograd::Function<FrozenConv2d> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            std::int64_t stride, std::int64_t padding) {
    context->save_for_backward({weight});
    context->saved_data["sizes"] = x.sizes();
    context->saved_data["memory_format"] = static_cast<std::int64_t>(x.suggest_memory_format());
    context->saved_data["stride"] = stride;
    context->saved_data["padding"] = padding;
    return plain_conv2d(x, weight, bias.value_or(at::Tensor()), stride, padding);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const at::Tensor weight = context->get_saved_variables()[0], dy = gradients[0];
    const std::int64_t stride = context->saved_data["stride"].toInt(), padding = context->saved_data["padding"].toInt();
    const auto format = static_cast<at::MemoryFormat>(context->saved_data["memory_format"].toInt());
    // Its sizes alone are read.
    const at::Tensor x_like = at::empty(context->saved_data["sizes"].toIntVector(), dy.options().memory_format(format));
    const at::Tensor dx = std::get<0>(at::convolution_backward(dy, x_like, weight, at::OptionalIntArrayRef(), {stride, stride},
                                                               {padding, padding}, {1, 1}, false, {0, 0}, 1, {true, false, false}));
    return {dx, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, std::int64_t stride, std::int64_t padding) {
  const bool x_alone = at::GradMode::is_enabled() && x.requires_grad() && is_frozen(weight, bias);
  if (!x_alone) return plain_conv2d(x, weight, bias, stride, padding);
  return FrozenConv2d::apply(x, weight, bias.defined() ? std::optional(bias) : std::nullopt, stride, padding);
}

}  // namespace nabla
