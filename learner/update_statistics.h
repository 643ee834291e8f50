#pragma once

#include "learner/slot_facts.h"

#include <map>
#include <string>
#include <vector>

namespace nabla {

// What the losses take from all slots of an update together, in slot order; neither micro-batches nor ranks change it.
struct UpdateStatistics {
  // By the name of a reward gradient: rows that are longer are scaled down to this norm. Empty without model.reward_grad_clip_percentile.
  std::map<std::string, double> norm_limits;
  // Of each slot: its reward less the mean of its prompt's, over their deviation; a prompt's only slot takes those of the update.
  std::vector<double> advantages;
};

// Of all slots of the update, whoever trains them. `clip_percentile` is model.reward_grad_clip_percentile; 0: no limits.
UpdateStatistics statistics_of(const std::vector<SlotFacts>& slots, double clip_percentile);

// numpy's percentile with linear interpolation, 0 <= percent <= 100; `values` are not empty.
double percentile(std::vector<double> values, double percent);

}  // namespace nabla
