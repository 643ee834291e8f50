#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <stop_token>
#include <thread>

namespace nabla {

// How an actor's work ends before it is done: at once when stop is requested or the run is over; when it is asked to leave, after the ticket in
// hand. Thread safe.
class Departure {
 public:
  Departure(std::stop_token leave, std::stop_token stop);

  // Until this call a request to leave ends everything at once; from now on the ticket in hand comes first, if it takes no longer than that.
  void finish_tickets_within(std::chrono::milliseconds patience) { patience_ms_ = patience.count(); }
  void end_at_once() { at_once_.request_stop(); }

  const std::stop_token& leave_token() const { return leave_; }
  std::stop_token at_once_token() const { return at_once_.get_token(); }
  bool ends_at_once() const { return at_once_.stop_requested(); }
  bool requested() const { return ends_at_once() || leave_.stop_requested(); }

 private:
  void wait_for_ticket();

  const std::stop_token leave_;
  std::stop_source at_once_;
  std::atomic<std::int64_t> patience_ms_{0};
  std::jthread timer_;
  // Last: their calls use what stands above.
  std::stop_callback<std::function<void()>> on_stop_, on_leave_;
};

}  // namespace nabla
