#pragma once

#include "learner/fleet_status.h"
#include "protocol/messages.h"

#include <string>

namespace nabla {

// What GET /metrics answers, in Prometheus' text format (docs/live-runs.md lists the names): of a learner, and of an actor by its last heartbeat.
std::string learner_metrics(const FleetStatus& status);
std::string actor_metrics(const Heartbeat& heartbeat);

}  // namespace nabla
