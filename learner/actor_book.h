#pragma once

#include "learner/fleet_status.h"
#include "protocol/messages.h"

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace nabla {

// What an actor said last, and whether it is here.
struct ActorState {
  bool connected = false;
  std::string host;
  std::int64_t pid = 0;
  double heard_at = 0;
  Heartbeat heartbeat;
};

// Everybody who joined a run. Times are seconds of one monotonic clock, given by the caller. One thread at a time.
class ActorBook {
 public:
  void greet(const Hello& hello, double now);
  // A message of an actor that is here.
  ActorState& hear(const std::string& id, double now);
  // False for a visitor, who never joined.
  bool leave(const std::string& id);

  std::size_t num_connected() const;
  const std::map<std::string, ActorState>& all() const { return actors_; }
  // In order of their names; what only the server counts is left at 0.
  std::vector<ActorStatus> status(double now) const;

 private:
  std::map<std::string, ActorState> actors_;
};

}  // namespace nabla
