#include "protocol/log_follower.h"

#include "common/pause.h"
#include "protocol/segment_files.h"

namespace nabla {

namespace {

// How often the mark of the log is looked at.
constexpr std::chrono::milliseconds kLook{20};

}  // namespace

TrajectoryLogFollower::TrajectoryLogFollower(const std::string& folder) : folder_(folder), reader_(folder) { reader_.extend(0); }

std::optional<LogEntry> TrajectoryLogFollower::next(std::chrono::milliseconds timeout, const std::stop_token& stop) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!ended_) {
    if (auto entry = reader_.next()) return entry;
    if (closed_) {
      ended_ = true;
      break;
    }
    const LogProgress before = progress_;
    // The mark first: what it calls durable stands in the files that are looked at afterwards.
    progress_ = progress_of_log(folder_);
    closed_ = !progress_.live;
    reader_.extend(closed_ ? kNoEnd : progress_.end_seq);
    if (closed_ || progress_.end_seq != before.end_seq) continue;
    const auto now = std::chrono::steady_clock::now();
    if (stop.stop_requested() || now >= deadline) break;
    pause_until(std::min(deadline, now + kLook), stop);
  }
  return std::nullopt;
}

}  // namespace nabla
