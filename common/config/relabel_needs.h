#pragma once

#include "common/config/record_needs.h"

#include <string>
#include <vector>

namespace nabla {

// What of a run's records depends on the weights at work, so that newer weights would give other values: what relabelling computes. The prediction of the
// weights that sampled is not among it, it is what it is.
RecordNeeds relabel_needs(RecordNeeds needs);

// Names of the tensors that a relabel record of these needs has, and no others; none: nothing of the record goes stale.
std::vector<std::string> policy_dependent_tensors(const RecordNeeds& needs);

}  // namespace nabla
