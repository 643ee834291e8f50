#pragma once

#include "protocol/record.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

namespace nabla {

using SharedRecord = std::shared_ptr<const TrajectoryRecord>;

// The trajectories of one update, in slot order; slots that were discarded are not among them.
struct UpdateRecords {
  std::int64_t update = 0;
  std::vector<SharedRecord> records;
};

// Policy lag of a record when its update is trained: update - version that sampled it, at least 0.
std::int64_t policy_lag(const UpdateRecords& update, const TrajectoryRecord& record);

// Trajectories sorted by update. Producers push or discard slots in any order; the consumer takes whole updates. It has no bound of its own:
// the issuer hands out no ticket beyond the policy lag, and every record was paid for by a ticket. All calls are thread safe.
class TrajectoryQueue {
 public:
  explicit TrajectoryQueue(std::int64_t slots_per_update);
  TrajectoryQueue(const TrajectoryQueue&) = delete;
  TrajectoryQueue& operator=(const TrajectoryQueue&) = delete;

  // Keeps a record under its header's slot. Never waits. False, and nothing kept, once closed or when the slot is already here or discarded.
  bool push(SharedRecord record);
  // The slot will not come: its update goes on without it. A slot that is here stays.
  void discard(std::int64_t slot);

  // Waits until every slot of the update is here or discarded. Nothing once closed: what is inside is not handed out any more.
  std::optional<UpdateRecords> take(std::int64_t update);
  // As take(), at most that long; closed() tells a timeout from the end.
  std::optional<UpdateRecords> take_for(std::int64_t update, std::chrono::milliseconds timeout);
  // The update was trained: forgets its records. Until then they count as held.
  void finish(std::int64_t update);

  // Ends every wait, now and later. Calling it again changes nothing.
  void close();
  bool closed() const;
  // Records that are here and not yet trained; late the moment it returns.
  std::int64_t held_slots() const;

 private:
  struct Update {
    std::map<std::int64_t, SharedRecord> records;  // by slot
    std::set<std::int64_t> discarded;
  };
  bool complete(std::int64_t update) const;
  UpdateRecords collect(std::int64_t update) const;

  const std::int64_t slots_per_update_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::int64_t, Update> updates_;  // guarded by mutex_
  bool closed_ = false;                     // guarded by mutex_
};

}  // namespace nabla
