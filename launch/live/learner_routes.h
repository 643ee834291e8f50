#pragma once

#include "launch/http/http_message.h"
#include "learner/fleet_status.h"

#include <atomic>
#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

namespace nabla {

// What a learner serves: GET /status, /metrics, /healthz, /readyz and POST /stop, /checkpoint. `status`: how the run stands, null before it starts and once it
// ends; thread safe. `stop` must outlive the routes; `checkpoint_wanted` is set for whoever trains.
std::vector<HttpRoute> learner_routes(std::function<std::shared_ptr<const FleetStatus>()> status, std::stop_source& stop,
                                      std::shared_ptr<std::atomic<bool>> checkpoint_wanted);

}  // namespace nabla
