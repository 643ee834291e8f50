#include "common/device/geglu.h"
#include "common/error.h"

#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace nabla {
namespace {

KernelType kernel_type(at::ScalarType type) {
  if (type == at::kFloat) return KernelType::kFloat32;
  if (type == at::kHalf) return KernelType::kFloat16;
  if (type == at::kBFloat16) return KernelType::kBFloat16;
  throw failure("[geglu] no kernel for {}; expected float32, float16 or bfloat16", at::toString(type));
}

}  // namespace

at::Tensor fused_gated_linear_unit(const at::Tensor& projected, Gate gate) {
  if (!projected.is_cuda()) throw failure("[geglu] the fused kernel takes CUDA tensors, not {}", projected.device().str());
  const c10::cuda::CUDAGuard guard(projected.device());
  const at::Tensor source = projected.contiguous();
  std::vector<std::int64_t> shape = source.sizes().vec();
  shape.back() /= 2;
  at::Tensor gated = at::empty(shape, source.options());
  if (gated.numel() == 0) return gated;
  const std::int64_t width = shape.back();
  launch_gated_linear_unit(source.const_data_ptr(), gated.mutable_data_ptr(), gated.numel() / width, width,
                           kernel_type(source.scalar_type()), gate, c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return gated;
}

}  // namespace nabla
