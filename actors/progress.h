#pragma once

#include "protocol/messages.h"

#include <functional>
#include <map>
#include <stop_token>
#include <string>

namespace nabla {

// Where the time of an actor goes, and the sign of life its heartbeats carry. One thread.
class Progress {
 public:
  Progress(std::function<void(const Heartbeat&)> publish, std::stop_token stop) : publish_(std::move(publish)), stop_(std::move(stop)) {}

  // The heartbeat to fill in: ticket, version, counters.
  Heartbeat& state() { return state_; }
  // Ends the stage before and begins `stage`; adds the time since the last call to the ended one.
  void begin_stage(const std::string& stage);
  // One step of work done; throws failure "stopped" once stop was requested, so that a long ticket is given back quickly.
  void step();

 private:
  std::function<void(const Heartbeat&)> publish_;
  std::stop_token stop_;
  Heartbeat state_;
  double stage_start_ = 0.0;
};

}  // namespace nabla
