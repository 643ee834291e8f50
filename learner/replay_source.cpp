#include "learner/replay_source.h"

#include "common/pause.h"

#include <variant>

namespace nabla {

namespace {

// How long one look at a growing log waits before stop and the log's writer are looked at again.
constexpr std::chrono::milliseconds kLook{500};

}  // namespace

ReplaySource::ReplaySource(const std::string& folder, const ReplayPace& pace) : pace_(pace) {
  if (pace.follow) {
    follower_.emplace(folder);
  } else {
    reader_.emplace(folder);
  }
}

std::optional<LogEntry> ReplaySource::take(const std::stop_token& stop) {
  if (reader_) return reader_->next();
  while (!stop.stop_requested()) {
    if (auto entry = follower_->next(kLook, stop)) return entry;
    if (follower_->ended()) break;
  }
  return std::nullopt;
}

std::optional<LogEntry> ReplaySource::next(const std::stop_token& stop) {
  auto entry = take(stop);
  const bool is_paced = entry && pace_.records_per_s > 0 && std::holds_alternative<EncodedRecord>(*entry);
  if (!is_paced) return entry;
  if (records_ == 0) first_at_ = std::chrono::steady_clock::now();
  const std::chrono::duration<double> due(static_cast<double>(records_++) / pace_.records_per_s);
  pause_until(first_at_ + std::chrono::duration_cast<std::chrono::steady_clock::duration>(due), stop);
  return entry;
}

const std::vector<std::string>& ReplaySource::warnings() const { return reader_ ? reader_->warnings() : follower_->warnings(); }

}  // namespace nabla
