#pragma once

#include "tests/chaos/shape.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nabla::chaos {

// Something that must never be. `kind` is one of a fixed set of names (docs/reliability.md).
struct Finding {
  std::string kind, text;
};

// The ledger of a run, in slots, every term from another source.
struct OfflineLedger {
  std::int64_t issued = 0;       // the plan: all slots of a run that was trained to its end, else up to the last ticket that left a trace
  std::int64_t trained = 0;      // checkpoint: updates that are done, by their slots in the log's training journal
  std::int64_t discarded = 0;    // the log's discard journal
  std::int64_t outstanding = 0;  // issued slots that neither journal names
  std::int64_t residual() const { return issued - trained - discarded - outstanding; }
};

struct CheckResult {
  OfflineLedger ledger;
  std::int64_t logged = 0, acked = 0, duplicates = 0, published = 0;
  std::string final_digest;  // of the newest published version
  std::vector<Finding> findings;
  bool found(const std::string& kind) const;
};

enum class RunEnd { kFinished, kCutShort };

// Judges a chaos run by its files alone: RUN/log, RUN/checkpoints and the acknowledgements in RUN/acks. Nobody may be writing them.
CheckResult check_run(const std::string& run_dir, const Shape& shape, RunEnd end);

}  // namespace nabla::chaos
