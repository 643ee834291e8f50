#pragma once

#include "actors/slot_points.h"

#include <memory>
#include <span>
#include <vector>

namespace nabla {

// Saved samples as if the weights that are installed had met their states: every tensor that the configuration's records have is made anew, eps_behaviour
// too, and the reward, by its models. x, y, slot, prompt, seed, transitions and ticket stay; run, actor, version and digest are those of `origin`. One batch;
// the bytes depend on it. failure where samples have different numbers of rows.
std::vector<EncodedRecord> relabel_samples(Workbench& bench, const RunConfig& config,
                                           std::span<const std::shared_ptr<const TrajectoryRecord>> samples, const RecordOrigin& origin,
                                           Progress& progress);

}  // namespace nabla
