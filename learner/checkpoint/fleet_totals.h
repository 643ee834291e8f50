#pragma once

#include "learner/checkpoint/checkpoint.h"
#include "learner/ingest.h"

#include <cstdint>
#include <map>
#include <string>

namespace nabla {

// What actors and server counted in all processes of a run's learner together. Actors tell what they did since they started, and live through a restart of the
// learner. One thread at a time.
class FleetTotals {
 public:
  // What actors had told before this process went on.
  void begin_with(std::map<std::string, ToldWork> told) { told_before_ = std::move(told); }
  // Adds what was counted since then.
  void add(RunSummary& summary, const Ingest& ingest, const std::map<std::string, std::int64_t>& server_counters) const;
  // Of everybody who was ever here.
  std::map<std::string, ToldWork> told_work(const Ingest& ingest) const;

 private:
  std::map<std::string, ToldWork> told_before_;  // by actor
};

}  // namespace nabla
