#pragma once

#include "learner/learner.h"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace nabla {

// summary.json: what a script or a reviewer wants to know of a run.
nlohmann::ordered_json summary_json(const RunSummary& summary);
// The same as a table for people.
std::string summary_table(const RunSummary& summary);

}  // namespace nabla
