#include "actors/departure.h"

#include "common/pause.h"

namespace nabla {

Departure::Departure(std::stop_token leave, std::stop_token stop)
    : leave_(leave), on_stop_(std::move(stop), [this] { end_at_once(); }), on_leave_(std::move(leave), [this] { wait_for_ticket(); }) {}

void Departure::wait_for_ticket() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms_);
  timer_ = std::jthread([this, deadline](const std::stop_token& gone) {
    pause_until(deadline, gone);
    if (!gone.stop_requested()) end_at_once();
  });
}

}  // namespace nabla
