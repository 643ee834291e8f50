#pragma once

#include "protocol/log_follower.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace nabla {

struct ReplayPace {
  double records_per_s = 0;  // 0: as fast as they are taken
  bool follow = false;       // wait for what a process still appends, until it closes the log or is gone
};

// The entries of a run's log, at a pace.
class ReplaySource {
 public:
  // data_error where there is no log.
  ReplaySource(const std::string& folder, const ReplayPace& pace);
  // Next entry; nothing at the end, and when stop is requested.
  std::optional<LogEntry> next(const std::stop_token& stop);
  const std::vector<std::string>& warnings() const;

 private:
  std::optional<LogEntry> take(const std::stop_token& stop);

  const ReplayPace pace_;
  std::optional<TrajectoryLogReader> reader_;  // one of the two
  std::optional<TrajectoryLogFollower> follower_;
  std::int64_t records_ = 0;                          // told so far
  std::chrono::steady_clock::time_point first_at_{};  // when the first record was told
};

}  // namespace nabla
