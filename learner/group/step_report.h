#pragma once

#include "learner/group/process_group.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nabla {

// What a rank tells the others once its slots of an update went through the losses, before gradients are summed. What all ranks do next depends on what all
// of them said.
struct StepReport {
  std::map<std::string, double> terms;           // sums over the rank's slots
  std::map<std::string, std::int64_t> counters;  // of its work since the start
  std::vector<bool> has_gradient;                // by parameter
  bool stopped = false;                          // was asked to stop: the update is given up
  std::string problem;                           // a loss that is not finite, in words; empty: none
};

// Of all ranks together: sums, what any of them has, the first problem.
StepReport gather(ProcessGroup& group, const StepReport& own);

// Throws failure on every rank where the ranks do not bring the same text, and names those that differ from rank 0. `what` is what the text stands for.
void require_same(ProcessGroup& group, const std::string& what, const std::string& text);

}  // namespace nabla
