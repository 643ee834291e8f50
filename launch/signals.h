#pragma once

#include <atomic>
#include <memory>
#include <stop_token>

namespace nabla {

enum class SecondSignal { kEndsProcess, kHurries };

// Turns signals into a stop request: the first SIGINT, SIGTERM or SIGUSR1 asks to stop. A second SIGINT ends the process at once with 130; with kHurries a
// SIGINT after the stop request asks to hurry, and another one ends the process. SIGTERM and SIGUSR1 may come any number of times: whoever ends a whole
// group of processes (systemd, a batch system) reaches both a supervisor, which passes the request on, and its children. Make it before other threads
// start: it blocks those signals for all of them. One a process.
class StopSignals {
 public:
  explicit StopSignals(SecondSignal second = SecondSignal::kEndsProcess);
  ~StopSignals();
  std::stop_token token() const { return source_.get_token(); }
  std::stop_token hurry_token() const { return hurry_.get_token(); }
  std::stop_source& source() { return source_; }
  // Whether a signal asked to stop (and not who has source()), and whether it was SIGUSR1: a scheduler's word that the time is over.
  bool by_signal() const { return first_ != 0; }
  bool asks_requeue() const;

 private:
  struct Listener;
  std::stop_source source_, hurry_;
  std::atomic<int> first_{0};  // the signal that asked to stop; 0: none did
  std::unique_ptr<Listener> listener_;
};

}  // namespace nabla
