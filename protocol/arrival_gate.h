#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace nabla {

// How many connections may arrive: so many at once, and so many a second in the long run. Beyond, strangers find no open door for a while.
struct ArrivalLimits {
  double burst = 4096, per_s = 64;
  std::chrono::milliseconds closed_for{10'000};
};

// The door of listening TCP sockets. While it is closed the kernel drops what opens a connection (SYN) from any IPv4 address that no message came from lately, so
// that a storm of connections costs this process nothing. Connections that are there go on, and who is cut off meanwhile may come back. Used by one thread.
class ArrivalGate {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit ArrivalGate(const ArrivalLimits& limits) : limits_(limits), level_(limits.burst) {}

  // A descriptor that listens.
  void guard(int listener) { listeners_.push_back(listener); }
  // A message came from this address (the bytes of a sockaddr): its machine is no stranger.
  void note_friend(const std::string& address);
  // So many connections arrived; true if the door closes now.
  bool note_arrivals(std::size_t count, Time now);
  // Opens the door again when it is time.
  void make_round(Time now);
  bool is_closed() const { return is_closed_; }

 private:
  void close() const;
  void open() const;

  ArrivalLimits limits_;
  std::vector<int> listeners_;
  std::deque<std::uint32_t> friends_;  // IPv4 addresses, the newest first; bounded
  double level_;
  Time at_, opens_at_;
  bool is_closed_ = false;
};

}  // namespace nabla
