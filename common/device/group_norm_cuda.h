#pragma once

#include "common/device/group_norm_kernel.h"
#include "common/device/kernel_type.h"

#include <cstdint>

struct CUstream_st;

namespace nabla {

// Device memory of a call; all of it contiguous. Numbers of x, y, dy, dx, weight and bias are of one type, arithmetic and the rest are float32.
struct GroupNormBuffers {
  const void *x = nullptr, *weight = nullptr, *bias = nullptr;  // [rows, pixels, channels], [channels], [channels]
  float* moments = nullptr;                                     // [rows, groups, 2] mean, 1/sqrt(var + eps)
  float* parts = nullptr;                                       // scratch, group_norm_scratch() floats
};

// A launch covers a row's pixels in chunks of this many, one block each; sums of chunks are added in one order, so results repeat bit by bit.
std::int64_t group_norm_chunk(const GroupNormShape& shape);
// Chunks a row.
std::int64_t group_norm_chunks(const GroupNormShape& shape);
// Floats of scratch that either pass takes.
std::int64_t group_norm_scratch(const GroupNormShape& shape);

// y [rows, pixels, channels]; fills the moments.
void launch_group_norm(const GroupNormShape& shape, const GroupNormBuffers& buffers, void* y, double eps, Activation activation,
                       KernelType type, CUstream_st* stream);

// From dy: dx, and in buffers.parts each chunk's share [rows, chunks, 2, channels] of d bias and d weight. means: scratch [rows, groups, 2].
void launch_group_norm_backward(const GroupNormShape& shape, const GroupNormBuffers& buffers, const void* dy, void* dx, float* means,
                                Activation activation, KernelType type, CUstream_st* stream);

}  // namespace nabla
