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
  const std::map<std::string, std::int64_t>& by_reason() const { return by_reason_; }

 private:
  std::map<std::string, std::int64_t> by_reason_;
};

}  // namespace nabla
