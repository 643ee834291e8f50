#pragma once

#include "actors/evaluate_points.h"
#include "actors/progress.h"
#include "actors/workbench.h"
#include "protocol/record.h"
#include "protocol/ticket.h"

#include <string>
#include <vector>

namespace nabla {

// Who made a record and with which weights; stamped on each header.
struct RecordOrigin {
  std::string run_id, actor_id;
  std::int64_t version = 0;
  std::string digest;  // read back from the module that samples
};

// Samples the ticket's slots at full batch, evaluates the chosen points and returns one record a slot, in the ticket's order.
// The bytes depend on the ticket, the weights and the configuration alone.
std::vector<EncodedRecord> sample_ticket(Workbench& bench, const RunConfig& config, const Ticket& ticket, const RecordOrigin& origin,
                                         Progress& progress);

}  // namespace nabla
