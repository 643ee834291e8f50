#pragma once

#include "common/config/run_config.h"
#include "learner/checkpoint/checkpoint.h"

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
  // The newest that is whole, or the one that the run went on from; -1: none.
  std::int64_t last() const { return last_; }
  void set_last(std::int64_t next_update) { last_ = next_update; }

 private:
  void write_now(const Checkpoint& checkpoint);

  const std::string folder_;
  const CheckpointConfig config_;
  std::atomic<std::int64_t> last_{-1};
  std::future<void> writing_;
};

}  // namespace nabla
