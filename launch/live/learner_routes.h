#pragma once

#include "launch/http/http_message.h"
#include "learner/fleet_status.h"

#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

namespace nabla {

// What a learner serves: GET /status, /metrics, /healthz, /readyz and POST /stop. `status`: how the run stands, null before it starts and once it ends;
// thread safe. `stop` must outlive the routes.
std::vector<HttpRoute> learner_routes(std::function<std::shared_ptr<const FleetStatus>()> status, std::stop_source& stop);

}  // namespace nabla
