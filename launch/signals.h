#pragma once

#include <memory>
#include <stop_token>

namespace nabla {

// Turns signals into a stop request: the first SIGINT, SIGTERM or SIGUSR1 asks to stop, a second SIGINT or SIGTERM ends the process at once with
// 128 + n. Make it before other threads start: it blocks those signals for all of them. One a process.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  std::stop_token token() const { return source_.get_token(); }
  std::stop_source& source() { return source_; }

 private:
  struct Listener;
  std::stop_source source_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace nabla
