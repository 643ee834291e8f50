#pragma once

#include "actors/workbench.h"
#include "protocol/snapshot.h"

namespace nabla {

// Loads a snapshot into the policy and proves that it is used: the digest is recomputed from the tensors read back from the modules that
// compute, and eps_theta - eps_reference on the snapshot's check input must come out of the sampling path. Throws failure naming both values.
void install_weights(Workbench& bench, const Snapshot& snapshot);

}  // namespace nabla
