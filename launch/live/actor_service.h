#pragma once

#include "launch/http/http_server.h"
#include "protocol/messages.h"

#include <mutex>
#include <optional>
#include <string>

namespace nabla {

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
