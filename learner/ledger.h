#pragma once

#include "learner/learner.h"
#include "protocol/trajectory_log.h"

#include <cstdint>
#include <map>
#include <string>

namespace nabla {

// The journal's term of the ledger: discards that reached the log, by the part of their reason before ':'. One thread at a time.
class DiscardCount {
 public:
  void add(const DiscardEntry& entry);
  // Those of a part of the run that was trained before a checkpoint.
  void add_before(const std::map<std::string, std::int64_t>& by_reason);
  std::map<std::string, std::int64_t> by_reason() const;
  // Of updates below this one.
  std::map<std::string, std::int64_t> by_reason_before(std::int64_t update) const;

 private:
  std::map<std::int64_t, std::map<std::string, std::int64_t>> by_update_;  // -1: before a checkpoint
};

}  // namespace nabla
