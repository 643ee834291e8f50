#include "learner/trajectory_queue.h"

#include "common/config/run_config.h"
#include "common/failpoint.h"
#include "learner/relabelled_record.h"

#include <algorithm>

namespace nabla {

std::int64_t policy_lag(const UpdateRecords& update, const TrajectoryRecord& record) {
  return std::max<std::int64_t>(0, update.update - record.header.version);
}

SlotContent slot_content(const RunConfig& config) {
  return config.fleet.relabel_before_update ? SlotContent::kSampleAndRelabel : SlotContent::kSample;
}

TrajectoryQueue::TrajectoryQueue(std::int64_t slots_per_update, SlotContent content)
    : slots_per_update_(slots_per_update), content_(content) {}

bool TrajectoryQueue::push(SharedRecord record) {
  const std::int64_t slot = record->header.slot;
  if (seeded_bug("queue.drop_record") && slot % 16 == 5) return true;
  {
    const std::lock_guard lock(mutex_);
    Update& update = updates_[slot / slots_per_update_];
    auto& records = record->header.kind == TicketKind::kRelabel ? update.relabels : update.samples;
    if (closed_ || update.discarded.contains(slot) || !records.emplace(slot, std::move(record)).second) return false;
  }
  changed_.notify_all();
  return true;
}

void TrajectoryQueue::discard(std::int64_t slot) {
  {
    const std::lock_guard lock(mutex_);
    Update& update = updates_[slot / slots_per_update_];
    if (!has_all(update, slot)) {
      const auto sample = update.samples.extract(slot);
      update.discarded.emplace(slot, sample ? sample.mapped() : nullptr);
    }
  }
  changed_.notify_all();
}

SharedRecord TrajectoryQueue::sample_of(std::int64_t slot) const {
  const std::lock_guard lock(mutex_);
  const auto update = updates_.find(slot / slots_per_update_);
  if (update == updates_.end()) return nullptr;
  for (const auto* records : {&update->second.samples, &update->second.discarded}) {
    if (const auto found = records->find(slot); found != records->end()) return found->second;
  }
  return nullptr;
}

std::optional<UpdateRecords> TrajectoryQueue::take_for(std::int64_t update, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, timeout, [&] { return closed_ || complete(update); }) || closed_) return std::nullopt;
  const Update whole = updates_.at(update);
  lock.unlock();
  return collect(update, whole);
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
  for (const auto& [number, update] : updates_) count += static_cast<std::int64_t>(update.samples.size());
  return count;
}

std::uint64_t TrajectoryQueue::held_bytes() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t bytes = 0;
  for (const auto& [number, update] : updates_) {
    for (const auto* records : {&update.samples, &update.relabels}) {
      for (const auto& [slot, record] : *records) bytes += record->encoded.header.view.size() + record->encoded.data.view.size();
    }
  }
  return bytes;
}

// Caller holds mutex_.
bool TrajectoryQueue::complete(std::int64_t update) const {
  const auto found = updates_.find(update);
  if (found == updates_.end()) return false;
  const Update& here = found->second;
  if (content_ == SlotContent::kSampleAndRelabel && here.relabels.size() < here.samples.size()) return false;
  return static_cast<std::int64_t>(here.samples.size() + here.discarded.size()) >= slots_per_update_;
}

// Caller holds mutex_.
bool TrajectoryQueue::has_all(const Update& update, std::int64_t slot) const {
  return update.samples.contains(slot) && (content_ == SlotContent::kSample || update.relabels.contains(slot));
}

// Without the mutex, because relabelled samples are copied.
UpdateRecords TrajectoryQueue::collect(std::int64_t number, const Update& update) const {
  UpdateRecords batch{.update = number, .records = {}};
  for (const auto& [slot, sample] : update.samples) {
    batch.records.push_back(content_ == SlotContent::kSample ? sample : relabelled(*sample, *update.relabels.at(slot)));
  }
  return batch;
}

}  // namespace nabla
