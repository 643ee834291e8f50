#pragma once

#include "protocol/trajectory_log.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace nabla {

// A record that stands in a log; its identity within the run is (slot, kind), of relabel records with the version.
struct LoggedRecord {
  std::int64_t slot = 0;
  TicketKind kind = TicketKind::kSample;
  std::int64_t version = 0;
};

// What an existing log held, known from the footers of its sealed segments and a scan of the last one.
struct LogRecovery {
  LogHeader header;
  std::vector<LoggedRecord> records;
  std::vector<std::int64_t> discarded;  // slots
  std::uint64_t next_seq = 0;           // number of the next entry
  std::uint64_t bytes_read = 0;         // footers and scanned segments
  std::vector<std::string> warnings;    // what was cut off, and where it is kept
};

struct ReopenedLog {
  std::unique_ptr<TrajectoryLog> log;
  LogRecovery recovery;
};

// Puts the end of a folder's log in order, so that a new segment can follow: a torn last entry is cut off (kept as <segment>.<byte>.torn), the last
// segment is sealed; files and folder are synced. Sealed segments are believed by their footers. data_error naming segment and byte for damage anywhere
// else: then nothing is changed. Nobody else may be appending.
LogRecovery recover_log(const std::string& folder);

}  // namespace nabla
