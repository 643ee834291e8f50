#pragma once

#include "protocol/trajectory_log.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nabla {

// Whether anything was ever said in a log: false where there is none, and where a crash came before its header was written (what is left of it then is
// renamed to *.torn).
bool holds_log(const std::string& folder);

// What the log of a run that goes on says, read once.
struct LogHistory {
  std::map<std::int64_t, std::string> published;              // digests by version
  std::map<std::int64_t, std::vector<std::int64_t>> trained;  // slots by update
  std::vector<DiscardEntry> discards;
  std::vector<EncodedRecord> records;  // in the order of the log, views of its files; still to be judged

  // Updates that are trained: all below it.
  std::int64_t trained_updates() const { return trained.empty() ? 0 : trained.rbegin()->first + 1; }
  // Nothing is missing at its beginning, as it is where a log was trimmed.
  bool is_whole() const { return trained.empty() || published.contains(0); }
};

LogHistory read_history(const std::string& folder);

}  // namespace nabla
