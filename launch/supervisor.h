#pragma once

#include "launch/child_process.h"

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

namespace nabla {

struct FleetCommands {
  ChildCommand learner;
  std::vector<ChildCommand> actors;
  double grace_s = 4.0;                 // from a stop request to SIGKILL
  double first_backoff_s = 1.0, longest_backoff_s = 32.0;
};

struct FleetOutcome {
  ChildExit learner_exit = 0;
  std::int64_t actor_restarts = 0;
  std::string gave_up;  // why no actor can ever work; empty: some could
};

// Runs one learner and its actors until the learner ends. A dead actor is started again after a back-off that doubles. One that ended well is not:
// the run is over, or somebody sent it away. Nor is one that ended with a usage or data error: it would fail again; with no actor left to start,
// the fleet stops with that actor's exit code. On `stop` everybody gets SIGTERM, and SIGKILL after the grace period. Returns the learner's exit code.
FleetOutcome supervise(const FleetCommands& commands, std::stop_token stop);

}  // namespace nabla
