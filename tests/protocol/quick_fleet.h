#pragma once

#include "protocol/fleet_client.h"
#include "protocol/fleet_server.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace nabla {

// Both ends with a heartbeat of 20 ms.
inline FleetServerOptions quick_server(const std::string& control = "tcp://127.0.0.1:*", const std::string& weights = "tcp://127.0.0.1:*") {
  FleetServerOptions options;
  options.control_address = control;
  options.weights_address = weights;
  options.heartbeat_interval = std::chrono::milliseconds(20);
  options.liveness = 100;  // a test on a busy machine may pause for long
  options.max_frame_bytes = std::size_t{1} << 20;
  return options;
}

inline FleetClientOptions quick_client(const std::string& endpoint, const std::string& actor_id) {
  FleetClientOptions options;
  options.control_endpoint = endpoint;
  options.actor_id = actor_id;
  options.heartbeat_interval = std::chrono::milliseconds(20);
  options.connect_deadline = options.reconnect_deadline = std::chrono::milliseconds(10'000);
  return options;
}

inline Hello hello_from(const std::string& actor_id, std::int64_t pid = 1) { return {kProtocolVersion, actor_id, "host", pid, "base"}; }

}  // namespace nabla
