#pragma once

#include "common/config/run_config.h"
#include "learner/checkpoint/checkpoint.h"
#include "learner/checkpoint/disk_reserve.h"

#include <atomic>
#include <cstdint>
#include <future>
#include <string>

namespace nabla {

// Writes checkpoints to a folder while training goes on, one at a time, and removes those that the rule does not keep. One thread at a time; last() any.
class CheckpointWriter {
 public:
  CheckpointWriter(std::string folder, const CheckpointConfig& config);
  // Waits for the one that is being written.
  ~CheckpointWriter();

  // Whether one is due at the boundary before this update.
  bool is_due(std::int64_t next_update) const;
  // Begins to write. Waits for the one before it and throws what went wrong with that.
  void write(Checkpoint checkpoint);
  // Throws what went wrong with the one that was being written, if it has ended.
  void check();
  // The same, once it has ended.
  void wait();
  // Whether one could not be written.
  bool has_failed() const { return has_failed_; }
  // Keeps room for a checkpoint of this size, and from then on for one as large as the last; a warning where there is none, or nothing without
  // checkpoint.reserve.
  void keep_room(std::uint64_t bytes);
  // For the last checkpoint of a run whose disk is full: frees that room.
  void free_room();
  // The newest that is whole, or the one that the run went on from; -1: none.
  std::int64_t last() const { return last_; }
  void set_last(std::int64_t next_update) { last_ = next_update; }

 private:
  void write_now(const Checkpoint& checkpoint);

  const std::string folder_;
  const CheckpointConfig config_;
  std::atomic<std::int64_t> last_{-1};
  std::atomic<bool> has_failed_{false};
  DiskReserve reserve_;  // of whoever writes: the thread while there is one
  std::future<void> writing_;
};

}  // namespace nabla
