#pragma once

#include "learner/group/process_group.h"
#include "learner/trajectory_queue.h"

#include <cstdint>
#include <optional>
#include <stop_token>

namespace nabla {

// How rank 0 of a live run takes the others along: actors talk to rank 0 alone, which sends a complete update's records on to all ranks. Everything is decided
// by votes, so no rank goes on without the others. `group` must outlive it; nothing is sent in a group of one.
class RankCourier {
 public:
  RankCourier(ProcessGroup& group, std::int64_t slots_per_update);

  // Rank 0, while it waits for an update: call it often, it votes twice a second at most. False once another rank was asked to stop.
  bool keep_waiting();
  // Rank 0: an update's records, to be trained by all ranks next. False if another rank was asked to stop: then nothing was sent.
  bool send(const UpdateRecords& update);
  // Rank 0: there is nothing more to come.
  void finish();

  // Another rank: its own records of the next update; nothing once rank 0 has finished.
  std::optional<UpdateRecords> receive(const std::stop_token& stop);

 private:
  std::uint32_t vote(std::uint32_t flags);

  ProcessGroup& group_;
  const std::int64_t slots_per_update_;
  double voted_s_;
  bool stopped_ = false;  // some rank was asked to stop
};

}  // namespace nabla
