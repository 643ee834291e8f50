#include "common/error.h"
#include "learner/group/nccl_process_group.h"

namespace nabla {

std::unique_ptr<ProcessGroup> make_nccl_process_group(const GroupOptions&, int) {
  throw usage_error("[group] built without NCCL: set learner.device=cpu, or build with NABLA_CUDA=ON");
}

}  // namespace nabla
