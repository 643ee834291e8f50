#pragma once

#include "common/device/kernel_type.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace nabla {

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }
__device__ inline float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

template <class T>
__device__ T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
  return value;
}
template <>
__device__ inline __half from_float<__half>(float value) {
  return __float2half(value);
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float value) {
  return __float2bfloat16(value);
}

// Calls `launch` with a value of the kernel's number type.
template <class Launch>
void with_number_type(KernelType type, Launch launch) {
  if (type == KernelType::kFloat32) return launch(float{});
  if (type == KernelType::kFloat16) return launch(__half{});
  launch(__nv_bfloat16{});
}

}  // namespace nabla
