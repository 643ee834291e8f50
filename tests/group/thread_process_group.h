#pragma once

#include "learner/group/process_group.h"

#include <chrono>
#include <memory>
#include <vector>

namespace nabla {

// Ranks that are threads of one process; sums run in the order of ranks. Give each thread one of them. A call that not all ranks come to within the
// deadline throws and names those that are missing.
std::vector<std::unique_ptr<ProcessGroup>> make_thread_process_groups(int size,
                                                                      std::chrono::milliseconds deadline = std::chrono::seconds(30));

}  // namespace nabla
