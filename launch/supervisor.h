#pragma once

#include "launch/child_process.h"

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace nabla {

struct FleetCommands {
  ChildCommand learner;
  std::function<ChildCommand(std::int64_t number)> actor;  // of every number from 0
  std::int64_t num_actors = 0;                             // at the start
  double learner_grace_s = 100.0;                          // of the learner from a stop request to SIGKILL: a micro-step, summary and LoRA
  double grace_s = 4.0;                                    // of the actors from the learner's end to SIGKILL
  double leave_s = 65.0;                                   // from asking one actor to leave to SIGKILL
  double first_backoff_s = 1.0, longest_backoff_s = 32.0;
  // Of a learner that was killed by a signal, or lost its peers (exit code 4) after it had come further: started again by this command, so often at most.
  ChildCommand learner_again = {};
  std::int64_t max_learner_restarts = 0;
  std::function<std::int64_t()> updates_done = {};  // how far the run came; empty: nobody knows
  std::function<int()> stop_signal = {};            // what the learner gets on a stop request; empty: SIGTERM
};

struct FleetOutcome {
  ChildExit learner_exit = 0;
  std::int64_t actor_restarts = 0, learner_restarts = 0;
  std::string gave_up;  // why no actor can ever work; empty: some could
};

struct ActorPlaceView {
  std::int64_t number = 0, restarts = 0;
  pid_t pid = 0;      // 0: no process
  std::string state;  // "running", or for people what else
};

struct FleetView {
  pid_t learner_pid = 0;  // the last one's, while none runs
  std::int64_t actors_wanted = 0;
  std::vector<ActorPlaceView> actors;  // those that are wanted, and those on their way out
};

// The handle by which others see and scale a fleet that supervise() runs. Thread safe.
class FleetControl {
 public:
  // How many actors there shall be from now on; takes effect at the supervisor's next look, 50 ms later at most.
  void scale_to(std::int64_t num_actors);
  FleetView view() const;

  // For supervise() alone.
  std::optional<std::int64_t> take_order();
  void show(FleetView view);

 private:
  mutable std::mutex mutex_;
  std::optional<std::int64_t> order_;  // guarded by mutex_
  FleetView view_;                     // guarded by mutex_
};

// Runs one learner and its actors until the learner ends. A dead actor is started again after a back-off that doubles. One that ended well is not:
// the run is over, or somebody sent it away. Nor is one that ended with a usage or data error: it would fail again; with no actor left to start,
// the fleet stops with that actor's exit code. When fewer actors are wanted, those of the highest numbers get SIGTERM, finish their tickets and are not
// started again; when more, the lowest free numbers start. On `stop` everybody gets SIGTERM, actors that outlive their learner SIGINT, and what is
// left SIGKILL after the grace period. A learner that may start again does so after a back-off that doubles; the actors stay and wait for it. Returns the
// exit code of the last learner.
FleetOutcome supervise(const FleetCommands& commands, FleetControl& control, std::stop_token stop);

}  // namespace nabla
