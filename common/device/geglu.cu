#include "common/device/geglu_kernel.h"
#include "common/device/kernel_numbers.cuh"

#include <cuda_runtime_api.h>

#include <algorithm>

namespace nabla {
namespace {

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
  with_number_type(type, [&]<class T>(T) { launch_typed<T>(projected, gated, rows, width, gate, stream); });
}

}  // namespace nabla
