#pragma once

#include "common/config/run_config.h"
#include "protocol/curve.h"
#include "protocol/messages.h"

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

namespace nabla {

struct ActorOptions {
  std::string connect;   // run folder or address
  std::string actor_id;  // unique in the run; default host-pid
  // Turns the run's configuration (YAML from the welcome) into a RunConfig, this actor's own overrides applied.
  std::function<RunConfig(const std::string& yaml)> parse_config;
  std::optional<ActorKeys> keys = {};  // none: those of the run folder, if its learner has keys
  std::stop_token leave = {};
  // Told what every heartbeat could say, from the working thread; empty: nobody.
  std::function<void(const Heartbeat&)> on_progress = {};
  std::chrono::milliseconds heartbeat_interval{1000};
  std::chrono::milliseconds connect_deadline{30'000};  // of a learner that is there, up to the first welcome
  std::chrono::milliseconds patience{60'000};          // with a run folder that has no learner yet, and with a learner that went away
};

// Works on tickets until the run is over, `leave` is requested (the ticket in hand comes first, within fleet.ticket_timeout), `stop` is requested (the
// ticket in hand is given back) or the learner stays away too long.
// Errors leave as nabla::Error with their exit code.
void run_actor(const ActorOptions& options, std::stop_token stop);

}  // namespace nabla
