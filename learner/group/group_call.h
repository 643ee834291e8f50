#pragma once

#include "learner/group/group_watch.h"

#include <torch/csrc/distributed/c10d/Work.hpp>

#include <string>

namespace nabla {

// Waits for c10d's work of the call that the watch has entered, and looks at the watch meanwhile. On failure every rank is told the reason before the error
// is thrown; the work may still be going on then.
void wait_for_work(c10d::Work& work, GroupWatch& watch);

// Tells all ranks of the error in flight, then throws it again.
[[noreturn]] void end_with_current_error(GroupWatch& watch);

}  // namespace nabla
