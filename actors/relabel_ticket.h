#pragma once

#include "actors/slot_points.h"
#include "protocol/slot_states.h"

#include <vector>

namespace nabla {

// Recomputes, with the weights that are installed, what of the ticket's samples depends on the weights: one relabel record a slot, in the ticket's order,
// with the tensors of policy_dependent_tensors() and reward 0 (the sample's stands). `states` are those of the slots, in the same order. failure if one of
// them does not have the slot's rows. The bytes depend on the ticket, the states, the weights and the configuration alone.
std::vector<EncodedRecord> relabel_ticket(Workbench& bench, const RunConfig& config, const Ticket& ticket,
                                          const std::vector<SlotStates>& states, const RecordOrigin& origin, Progress& progress);

// States and noise for points that were sampled before: x and y [R,C,h,w], rows as the slots have them. Lean adjoints cannot be had from them.
void set_states(const Workbench& bench, const RecordNeeds& needs, const Tensor& x, const Tensor& y, SlotPoints& slots);

}  // namespace nabla
