#include "common/device/geglu_kernel.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <algorithm>

namespace nabla {
namespace {

__device__ float to_float(float value) { return value; }
__device__ float to_float(__half value) { return __half2float(value); }
__device__ float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

template <class T>
__device__ T from_float(float value);
template <>
__device__ float from_float<float>(float value) {
  return value;
}
template <>
__device__ __half from_float<__half>(float value) {
  return __float2half(value);
}
template <>
__device__ __nv_bfloat16 from_float<__nv_bfloat16>(float value) {
  return __float2bfloat16(value);
}

template <Gate gate>
__device__ float activate(float value) {
  constexpr float kInverseSqrt2 = 0.70710678118654752440f;
  if constexpr (gate == Gate::kGelu) return 0.5f * value * (1.0f + erff(value * kInverseSqrt2));
  return value / (1.0f + expf(-value));
}

// A row is [width values | width gates]; a block takes columns, the grid strides over rows.
template <class T, Gate gate>
__global__ void gate_rows(const T* projected, T* gated, std::int64_t rows, std::int64_t width) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= width) return;
  for (std::int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const T* source = projected + row * 2 * width;
    gated[row * width + column] = from_float<T>(to_float(source[column]) * activate<gate>(to_float(source[width + column])));
  }
}

template <class T>
void launch_typed(const void* projected, void* gated, std::int64_t rows, std::int64_t width, Gate gate, cudaStream_t stream) {
  constexpr int kThreads = 256;
  constexpr std::int64_t kMaxGridRows = 65535;
  const dim3 grid(static_cast<unsigned>((width + kThreads - 1) / kThreads), static_cast<unsigned>(std::min(rows, kMaxGridRows)));
  const auto* source = static_cast<const T*>(projected);
  auto* target = static_cast<T*>(gated);
  if (gate == Gate::kGelu) {
    gate_rows<T, Gate::kGelu><<<grid, kThreads, 0, stream>>>(source, target, rows, width);
  } else {
    gate_rows<T, Gate::kSilu><<<grid, kThreads, 0, stream>>>(source, target, rows, width);
  }
}

}  // namespace

void launch_gated_linear_unit(const void* projected, void* gated, std::int64_t rows, std::int64_t width, KernelType type, Gate gate,
                              CUstream_st* stream) {
  switch (type) {
    case KernelType::kFloat32:
      return launch_typed<float>(projected, gated, rows, width, gate, stream);
    case KernelType::kFloat16:
      return launch_typed<__half>(projected, gated, rows, width, gate, stream);
    case KernelType::kBFloat16:
      return launch_typed<__nv_bfloat16>(projected, gated, rows, width, gate, stream);
  }
}

}  // namespace nabla
