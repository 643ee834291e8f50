#pragma once

#include "protocol/fleet_client.h"
#include "protocol/keys.h"
#include "tests/common/temporary_folder.h"
#include "tests/protocol/fake_learner.h"
#include "tests/protocol/quick_fleet.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace nabla {

// A learner with keys of its own.
struct KeyedLearner {
  explicit KeyedLearner(const std::string& control = "tcp://127.0.0.1:*") {
    make_server_keys(folder.path());
    options.control_address = control;
    options.heartbeat_interval = std::chrono::milliseconds(50);
    options.liveness = 100;  // a test on a busy machine may pause for long
    options.keys = read_server_keys(folder.path());
  }
  void start() {
    server = std::make_unique<FleetServer>(options, handler);
    server->start();
  }
  // Makes the keys of an actor and lets it in.
  ActorKeys actor(const std::string& name) {
    make_actor_keys(folder.path(), name);
    return read_actor_keys(folder.file("actors/" + name + ".key"));
  }
  ActorKeys local() const { return read_actor_keys(folder.file("actors/local.key")); }
  std::string endpoint() const { return server->control_endpoint(); }
  std::int64_t count(const std::string& name) const { return count_of(*server, name); }

  TemporaryFolder folder;
  FakeLearner handler;
  FleetServerOptions options;
  std::unique_ptr<FleetServer> server;
};

inline FleetClientOptions client_of(const std::string& endpoint, std::optional<ActorKeys> keys, const std::string& id = "actor") {
  FleetClientOptions options;
  options.control_endpoint = endpoint;
  options.actor_id = id;
  options.heartbeat_interval = std::chrono::milliseconds(50);
  options.connect_deadline = std::chrono::milliseconds(10'000);
  options.reconnect_deadline = std::chrono::milliseconds(10'000);
  options.keys = std::move(keys);
  return options;
}

}  // namespace nabla
