#pragma once

#include "protocol/trajectory_log.h"
#include "tests/chaos/shape.h"

#include <chrono>
#include <cstdint>
#include <string>

namespace nabla::chaos {

struct FakeLearnerOptions {
  std::string run_dir;  // RUN/log, RUN/checkpoints, at the end RUN/ledger.json
  Shape shape;
  std::string control, weights;   // addresses that it binds
  std::string announced_weights;  // what actors are told; empty: the bound address
  Durability durability = Durability::kPageCache;
  std::uint64_t segment_bytes = std::uint64_t{1} << 20;
  std::chrono::milliseconds heartbeat{100}, train_time{0};
  bool hold = false;  // no more updates are trained than the file RUN/allowed says
};

// A learner of the product's parts (server, ingest, issuer, validator, log, queue) with a digest for a model. Started again over the same folder it goes on
// where log and checkpoint say. Returns when all updates are trained; throws what ended it before.
void run_fake_learner(const FakeLearnerOptions& options);

struct Checkpoint {
  std::int64_t next_update = 0;
  std::string weights;
};
// With the product's writer, in RUN/checkpoints.
void write_checkpoint(const std::string& run_dir, const Checkpoint& checkpoint);
// The newest checkpoint of a run, or that of its beginning.
Checkpoint read_checkpoint(const std::string& run_dir, const Shape& shape);

}  // namespace nabla::chaos
