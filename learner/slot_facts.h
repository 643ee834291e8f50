#pragma once

#include "common/config/record_needs.h"
#include "learner/group/process_group.h"
#include "learner/trajectory_queue.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nabla {

// What all ranks know of a slot that one of them trains.
struct SlotFacts {
  std::int64_t slot = 0, rows = 0, policy_lag = 0;
  double reward = 0;
  std::string prompt;
  // Of each row, by the name of a reward gradient; empty without a limit to them.
  std::map<std::string, std::vector<double>> gradient_norms;
};

enum class GradientNorms { kNone, kAll };
std::vector<SlotFacts> facts_of(const UpdateRecords& update, const RecordNeeds& needs, GradientNorms norms);

// Those of all ranks, in slot order.
std::vector<SlotFacts> gather(ProcessGroup& group, std::vector<SlotFacts> own);

// The records of an update that a rank owns: slots [S r/N, S (r+1)/N) of its S, for rank r of N.
UpdateRecords share_of(const UpdateRecords& update, std::int64_t slots_per_update, const ProcessGroup& group);

}  // namespace nabla
