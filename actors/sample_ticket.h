#pragma once

#include "actors/progress.h"
#include "actors/slot_points.h"
#include "actors/workbench.h"
#include "protocol/record.h"
#include "protocol/ticket.h"

#include <vector>

namespace nabla {

// Samples the ticket's slots at full batch, evaluates the chosen points and returns one record a slot, in the ticket's order.
// The bytes depend on the ticket, the weights and the configuration alone.
std::vector<EncodedRecord> sample_ticket(Workbench& bench, const RunConfig& config, const Ticket& ticket, const RecordOrigin& origin,
                                         Progress& progress);

}  // namespace nabla
