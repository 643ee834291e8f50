#pragma once

namespace nabla {

// Number types that the CUDA kernels take.
enum class KernelType { kFloat32, kFloat16, kBFloat16 };

}  // namespace nabla
