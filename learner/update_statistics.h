#pragma once

#include "common/config/record_needs.h"
#include "common/spread.h"
#include "learner/trajectory_queue.h"

#include <map>
#include <string>
#include <vector>

namespace nabla {

// What the losses take from all slots of an update together, in slot order; micro-batches do not change it.
struct UpdateStatistics {
  // By the name of a reward gradient: rows that are longer are scaled down to this norm. Empty without model.reward_grad_clip_percentile.
  std::map<std::string, double> norm_limits;
  // Of each record: its reward less the mean of its prompt's, over their deviation; a prompt's only record takes those of the update.
  std::vector<double> advantages;
};

// `clip_percentile` is model.reward_grad_clip_percentile; 0: no limits.
UpdateStatistics statistics_of(const std::vector<SharedRecord>& records, const RecordNeeds& needs, double clip_percentile);

// numpy's percentile with linear interpolation, 0 <= percent <= 100; `values` are not empty.
double percentile(std::vector<double> values, double percent);

}  // namespace nabla
