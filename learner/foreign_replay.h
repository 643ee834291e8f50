#pragma once

#include "learner/run_session.h"
#include "learner/trajectory_queue.h"

#include <stop_token>
#include <vector>

namespace nabla {

// Trains the session's updates on trajectories that other runs made: update u takes the u-th group of S records, until they or the updates end. Whether they
// may be used was decided before. There are no digests to compare; unet_l2_to_ref, the distance from the base model, is among the metrics.
LearnerResult replay_foreign(RunSession& session, const std::vector<SharedRecord>& records, const std::stop_token& stop);

}  // namespace nabla
