#pragma once

#include "protocol/durable_mark.h"
#include "protocol/trajectory_log.h"

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace nabla {

// Reads a log while another process, or another thread, appends to it: entry by entry up to what is durable, then it waits for more. When the log is
// closed, or its writer is gone, the rest is read as TrajectoryLogReader does. data_error as there.
class TrajectoryLogFollower {
 public:
  explicit TrajectoryLogFollower(const std::string& folder);
  // Next entry, waiting for it for at most `timeout`. Nothing: none came in time, stop was requested, or ended().
  std::optional<LogEntry> next(std::chrono::milliseconds timeout, const std::stop_token& stop);
  // Nobody appends any more and everything was read.
  bool ended() const { return ended_; }
  const std::vector<std::string>& warnings() const { return reader_.warnings(); }

 private:
  std::string folder_;
  TrajectoryLogReader reader_;
  LogProgress progress_;
  bool closed_ = false, ended_ = false;
};

}  // namespace nabla
