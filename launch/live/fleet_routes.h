#pragma once

#include "launch/http/http_message.h"
#include "launch/supervisor.h"

#include <cstdint>
#include <stop_token>
#include <vector>

namespace nabla {

// What `nabla train` serves: GET /fleet and /healthz, POST /scale?actors=N (`most_actors` at most) and /stop. `control` and `stop` must outlive the routes.
std::vector<HttpRoute> fleet_routes(FleetControl& control, std::stop_source& stop, std::int64_t most_actors);

}  // namespace nabla
