#pragma once

#include "launch/http/http_message.h"
#include "launch/supervisor.h"

#include <stop_token>
#include <vector>

namespace nabla {

// What `nabla train` serves: GET /fleet and /healthz, POST /scale?actors=N and /stop. `control` and `stop` must outlive the routes.
std::vector<HttpRoute> fleet_routes(FleetControl& control, std::stop_source& stop);

}  // namespace nabla
