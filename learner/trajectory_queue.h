#pragma once

#include "protocol/record.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace nabla {

struct RunConfig;

using SharedRecord = std::shared_ptr<const TrajectoryRecord>;

// The trajectories of one update, in slot order; slots that were discarded are not among them.
struct UpdateRecords {
  std::int64_t update = 0;
  std::vector<SharedRecord> records;
};

// Policy lag of a record when its update is trained: update - version that sampled it, at least 0.
std::int64_t policy_lag(const UpdateRecords& update, const TrajectoryRecord& record);

// What of a slot has to be here before its update is handed out.
enum class SlotContent { kSample, kSampleAndRelabel };
SlotContent slot_content(const RunConfig& config);  // fleet.relabel_before_update

// Trajectories sorted by update. Producers push or discard slots in any order; the consumer takes whole updates. It has no bound of its own:
// the issuer hands out no ticket beyond the policy lag, and every record was paid for by a ticket. All calls are thread safe.
class TrajectoryQueue {
 public:
  explicit TrajectoryQueue(std::int64_t slots_per_update, SlotContent content = SlotContent::kSample);
  TrajectoryQueue(const TrajectoryQueue&) = delete;
  TrajectoryQueue& operator=(const TrajectoryQueue&) = delete;

  // Keeps a record under its header's slot and kind. Never waits. False, and nothing kept, once closed or when it is already here or its slot discarded.
  bool push(SharedRecord record);
  // The slot will not come, or not be relabelled: its update goes on without it. A slot of which all is here stays.
  void discard(std::int64_t slot);
  // The sample of a slot, if it came: that of a discarded one too, for whoever relabels its neighbours.
  SharedRecord sample_of(std::int64_t slot) const;

  // Waits until every slot of the update is here or discarded. Nothing when that takes longer, and once closed, where what is inside is not handed out any
  // more; closed() tells which. Relabelled samples come with the tensors of their relabel records in the place of their own.
  std::optional<UpdateRecords> take_for(std::int64_t update, std::chrono::milliseconds timeout);
  // The update was trained: forgets its records. Until then they count as held.
  void finish(std::int64_t update);

  // Ends every wait, now and later. Calling it again changes nothing.
  void close();
  bool closed() const;
  // Records that are here and not yet trained; late the moment it returns.
  std::int64_t held_slots() const;
  std::uint64_t held_bytes() const;

 private:
  struct Update {
    std::map<std::int64_t, SharedRecord> samples, relabels;  // by slot
    std::map<std::int64_t, SharedRecord> discarded;          // by slot: the sample, or null where it never came
  };
  bool complete(std::int64_t update) const;
  bool has_all(const Update& update, std::int64_t slot) const;
  UpdateRecords collect(std::int64_t number, const Update& update) const;

  const std::int64_t slots_per_update_;
  const SlotContent content_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::int64_t, Update> updates_;  // guarded by mutex_
  bool closed_ = false;                     // guarded by mutex_
};

}  // namespace nabla
