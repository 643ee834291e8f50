#include "common/device/fused_group_norm.h"

#include "common/device/group_norm_cuda.h"
#include "common/error.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <optional>

namespace nabla {
namespace {

// Of the kernels' shared memory.
constexpr std::int64_t kMostChannels = 5120;

std::optional<KernelType> kernel_type(at::ScalarType type) {
  if (type == at::kFloat) return KernelType::kFloat32;
  if (type == at::kHalf) return KernelType::kFloat16;
  if (type == at::kBFloat16) return KernelType::kBFloat16;
  return std::nullopt;
}

GroupNormShape shape_of(const at::Tensor& x, std::int64_t num_groups) {
  return {.rows = x.size(0), .pixels = x.size(2) * x.size(3), .channels = x.size(1), .groups = num_groups};
}

at::Tensor floats(const at::Tensor& like, at::IntArrayRef sizes) {
  return at::empty(sizes, at::TensorOptions(at::kFloat).device(like.device()));
}

void require_applies(const at::Tensor& x, const at::Tensor& weight) {
  if (!fused_group_norm_applies(x, weight))
    throw failure("[group norm] the fused kernel takes channels-last CUDA tensors of one type, not {} on {}", at::toString(x.scalar_type()),
                  x.device().str());
}

}  // namespace

bool fused_group_norm_applies(const at::Tensor& x, const at::Tensor& weight) {
  return x.is_cuda() && x.dim() == 4 && x.numel() > 0 && x.size(1) <= kMostChannels && kernel_type(x.scalar_type()) &&
         weight.scalar_type() == x.scalar_type() && x.is_contiguous(at::MemoryFormat::ChannelsLast);
}

std::pair<at::Tensor, at::Tensor> fused_group_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                                   std::int64_t num_groups, double eps, Activation activation) {
  require_applies(x, weight);
  const c10::cuda::CUDAGuard guard(x.device());
  const GroupNormShape shape = shape_of(x, num_groups);
  const at::Tensor y = at::empty_like(x), moments = floats(x, {shape.rows, shape.groups, 2});
  const at::Tensor parts = floats(x, {group_norm_scratch(shape)}), own_weight = weight.contiguous(), own_bias = bias.contiguous();
  const GroupNormBuffers buffers{x.const_data_ptr(), own_weight.const_data_ptr(), own_bias.const_data_ptr(),
                                 moments.mutable_data_ptr<float>(), parts.mutable_data_ptr<float>()};
  launch_group_norm(shape, buffers, y.mutable_data_ptr(), eps, activation, *kernel_type(x.scalar_type()),
                    c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {y, moments};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> fused_group_norm_backward(const at::Tensor& dy, const at::Tensor& x,
                                                                         const at::Tensor& weight, const at::Tensor& bias,
                                                                         const at::Tensor& moments, Activation activation) {
  require_applies(x, weight);
  const c10::cuda::CUDAGuard guard(x.device());
  const GroupNormShape shape = shape_of(x, moments.size(1));
  const at::Tensor gradient = dy.contiguous(at::MemoryFormat::ChannelsLast), dx = at::empty_like(x);
  const at::Tensor parts = floats(x, {shape.rows * group_norm_chunks(shape), 2, shape.channels}), means = at::empty_like(moments);
  const at::Tensor own_weight = weight.contiguous(), own_bias = bias.contiguous();
  const GroupNormBuffers buffers{x.const_data_ptr(), own_weight.const_data_ptr(), own_bias.const_data_ptr(),
                                 moments.mutable_data_ptr<float>(), parts.mutable_data_ptr<float>()};
  launch_group_norm_backward(shape, buffers, gradient.const_data_ptr(), dx.mutable_data_ptr(), means.mutable_data_ptr<float>(), activation,
                             *kernel_type(x.scalar_type()), c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  const at::Tensor sums = parts.sum(0);
  return {dx, sums.select(0, 1), sums.select(0, 0)};
}

}  // namespace nabla
