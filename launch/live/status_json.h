#pragma once

#include "learner/fleet_status.h"

#include <nlohmann/json_fwd.hpp>

namespace nabla {

// What GET /status answers and `nabla status --json` prints of a live run.
nlohmann::ordered_json status_json(const FleetStatus& status);

}  // namespace nabla
