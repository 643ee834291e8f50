#pragma once

#include "learner/trajectory_queue.h"

namespace nabla {

// The sample with the tensors of its relabel record in the place of its own; all else is the sample's, eps_behaviour and the version too. A copy of the
// tensors, for training alone: it has no encoded header and no checksums.
SharedRecord relabelled(const TrajectoryRecord& sample, const TrajectoryRecord& relabel);

}  // namespace nabla
