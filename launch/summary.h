#pragma once

#include "learner/learner.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <utility>
#include <vector>

namespace nabla {

// summary.json: what a script or a reviewer wants to know of a run.
nlohmann::ordered_json summary_json(const RunSummary& summary);
// Its part `ledger`, with the residual.
nlohmann::ordered_json ledger_json(const LedgerSummary& ledger);
// The same as a table for people.
std::string summary_table(const RunSummary& summary);
// Counted rows through the learner's networks for each trained transition: unet_forwards, unet_backwards (a row is a guided one), flow_forwards,
// flow_backwards. An update that was stopped in its middle counts too.
std::vector<std::pair<std::string, double>> learner_passes(const RunSummary& summary);

}  // namespace nabla
