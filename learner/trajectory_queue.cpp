#include "learner/trajectory_queue.h"

#include <algorithm>

namespace nabla {

std::int64_t policy_lag(const UpdateRecords& update, const TrajectoryRecord& record) {
  return std::max<std::int64_t>(0, update.update - record.header.version);
}

TrajectoryQueue::TrajectoryQueue(std::int64_t slots_per_update) : slots_per_update_(slots_per_update) {}

bool TrajectoryQueue::push(SharedRecord record) {
  const std::int64_t slot = record->header.slot;
  {
    const std::lock_guard lock(mutex_);
    Update& update = updates_[slot / slots_per_update_];
    if (closed_ || update.discarded.contains(slot) || !update.records.emplace(slot, std::move(record)).second) return false;
  }
  changed_.notify_all();
  return true;
}

void TrajectoryQueue::discard(std::int64_t slot) {
  {
    const std::lock_guard lock(mutex_);
    Update& update = updates_[slot / slots_per_update_];
    if (!update.records.contains(slot)) update.discarded.insert(slot);
  }
  changed_.notify_all();
}

std::optional<UpdateRecords> TrajectoryQueue::take(std::int64_t update) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return closed_ || complete(update); });
  if (closed_) return std::nullopt;
  return collect(update);
}

std::optional<UpdateRecords> TrajectoryQueue::take_for(std::int64_t update, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, timeout, [&] { return closed_ || complete(update); }) || closed_) return std::nullopt;
  return collect(update);
}

void TrajectoryQueue::finish(std::int64_t update) {
  const std::lock_guard lock(mutex_);
  updates_.erase(update);
}

void TrajectoryQueue::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

bool TrajectoryQueue::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

std::int64_t TrajectoryQueue::held_slots() const {
  const std::lock_guard lock(mutex_);
  std::int64_t count = 0;
  for (const auto& [number, update] : updates_) count += static_cast<std::int64_t>(update.records.size());
  return count;
}

// Caller holds mutex_.
bool TrajectoryQueue::complete(std::int64_t update) const {
  const auto found = updates_.find(update);
  if (found == updates_.end()) return false;
  return static_cast<std::int64_t>(found->second.records.size() + found->second.discarded.size()) >= slots_per_update_;
}

// Caller holds mutex_.
UpdateRecords TrajectoryQueue::collect(std::int64_t update) const {
  UpdateRecords batch{.update = update, .records = {}};
  for (const auto& [slot, record] : updates_.at(update).records) batch.records.push_back(record);
  return batch;
}

}  // namespace nabla
