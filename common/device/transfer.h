#pragma once

#include <ATen/core/Tensor.h>

namespace nabla {

// The tensor on a device. From the CPU to a GPU by way of pinned memory, without waiting for the copy; the tensor itself where it is there already.
at::Tensor to_device(const at::Tensor& tensor, at::Device device);

}  // namespace nabla
