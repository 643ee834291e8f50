#pragma once

#include "launch/http/http_server.h"
#include "protocol/messages.h"

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

namespace nabla {

// How many actors `nabla train` can have, and where the one of a number serves its metrics: each needs a port of its own, so a fixed one of http.actor_bind
// is that of actor 0, and actor N has the N-th after it. An empty address and port 0 (a free one) are all actors'.
std::int64_t most_actors_at(const std::string& actor_bind);
std::string address_of_actor(const std::string& actor_bind, std::int64_t number);

// An actor's GET /metrics and /healthz, over TCP to read.
class ActorService {
 public:
  // Serves from now on; nothing where the address is empty.
  void serve_at(const std::string& tcp_address);
  // What /metrics tells from now on. Thread safe.
  void update(const Heartbeat& heartbeat);

 private:
  std::mutex mutex_;
  Heartbeat heartbeat_;               // guarded by mutex_
  std::optional<HttpServer> server_;  // last: its thread uses what stands above
};

}  // namespace nabla
