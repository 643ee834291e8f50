#pragma once

#include "learner/group/group_options.h"
#include "learner/group/process_group.h"

#include <memory>

namespace nabla {

// Ranks on GPUs: sums and copies of CUDA tensors by NCCL on the given device, all else by a Gloo group beside it. Errors as a call's; usage_error in a build
// without NCCL.
std::unique_ptr<ProcessGroup> make_nccl_process_group(const GroupOptions& options, int device);

}  // namespace nabla
