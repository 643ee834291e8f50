#pragma once

#include "common/device/kernel_type.h"

#include <cstdint>

struct CUstream_st;

namespace nabla {

// Activation of the gating half.
enum class Gate { kGelu, kSilu };  // kGelu: the exact (erf) form, as in GEGLU

// projected [rows, 2 * width] and gated [rows, width]: contiguous device memory of one type; enqueued on the stream, arithmetic in float32.
void launch_gated_linear_unit(const void* projected, void* gated, std::int64_t rows, std::int64_t width, KernelType type, Gate gate,
                              CUstream_st* stream);

}  // namespace nabla
