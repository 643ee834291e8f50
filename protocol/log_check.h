#pragma once

#include "protocol/trajectory_log.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

// A place of a log that holds no entry that can be read.
struct LogDamage {
  std::string segment;                       // path of the file
  std::uint64_t begin = 0, end = 0;          // bytes
  std::uint64_t first_seq = 0, end_seq = 0;  // missing entries, end_seq not among them; equal: none
  std::string reason;
  std::vector<std::int64_t> slots;  // of the missing records and discards, where the segment's footer knows them
};

struct LogCheck {
  std::uint64_t segments = 0, entries = 0, records = 0, bytes = 0;
  std::vector<LogDamage> damages;
  std::vector<std::string> warnings;  // a torn tail, a segment that was given up: nothing acknowledged is missing
};

// Reads a whole log, also behind damage: headers, checksums of all frames, numbers, the fields of every entry, footers with their index and digest.
// data_error only where there is no log.
LogCheck check_log(const std::string& folder);

struct LogSalvage {
  LogCheck found;            // what was wrong
  std::uint64_t copied = 0;  // entries of the new log, without its header
  bool header_lost = false;  // the new log's header is made up: run id of the records, no weights contract
};

// Copies every entry that can be read to a new log in `target`, in order. The damaged log is not touched. data_error if it has no entry at all; failure
// if `target` holds a log.
LogSalvage salvage_log(const std::string& folder, const std::string& target);

}  // namespace nabla
