#pragma once

#include "learner/learner.h"

#include <stop_token>

namespace nabla {

// A rank other than 0 of a live run: trains its own slots of what rank 0 sends, until rank 0 has finished. Writes no file and listens to no actor. The result's
// error is that of the group where another rank failed.
LearnerResult follow_learner(const LearnerOptions& options, std::stop_token stop);

}  // namespace nabla
