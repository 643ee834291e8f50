#pragma once

#include "protocol/record.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace nabla {

enum class Durability { kMemory, kPageCache, kFsync };
Durability durability_from_name(const std::string& name);  // usage_error listing "memory | pagecache | fsync"

// What decides the weights; equal in a replay of the same run. Stored as JSON text in the first entry of every segment.
struct LogHeader {
  std::string run_id;
  std::string weights_contract;     // digest of base model, LoRA, objective, optimiser, S, seed
  std::string config;               // effective configuration, YAML
  std::string base_digest = {};     // of the base model
  std::string relabelled_with = {}; // `nabla relabel` wrote it: digest of the weights that its tensors were computed with; empty: a run wrote it
};

struct PublishEntry {
  std::int64_t version = 0;
  std::string digest;
};
struct DiscardEntry {
  std::int64_t slot = 0, update = 0;
  std::string reason;
};
struct TrainedEntry {               // written after an update was trained: which slots made it
  std::int64_t update = 0;
  std::vector<std::int64_t> slots;
};

using LogEntry = std::variant<LogHeader, EncodedRecord, PublishEntry, DiscardEntry, TrainedEntry>;

struct TrajectoryLogOptions {
  std::string folder;               // made if absent; one log a rank
  // kMemory: written in groups, what the last group misses is lost with the process. kPageCache: survives the process. kFsync: survives the machine.
  Durability durability = Durability::kPageCache;
  std::uint64_t segment_bytes = std::uint64_t{1} << 30;
};

struct ReopenedLog;

// Append-only segment log of one process. Appends return when the entry has the asked durability; several threads may append, and share one write.
// After a write or sync that failed, the entries go to a new segment; where that fails too, and on a full disk: failure (exit 1) naming the file. The
// entry is then not in the log and must not be acknowledged, and every later append fails too.
class TrajectoryLog {
 public:
  // failure if the folder holds a log already (a log is never written over) or another process appends to one there.
  static std::unique_ptr<TrajectoryLog> create(const TrajectoryLogOptions& options, const LogHeader& header);
  // Goes on with the log of a folder in a new segment (log_recovery.h): what a crash left of its last entry is cut off, and kept beside it as *.torn.
  // data_error naming segment and byte if it is damaged elsewhere, or if it is of another run or weights contract than `header`; failure if another
  // process appends to it.
  static ReopenedLog reopen(const TrajectoryLogOptions& options, const LogHeader& header);
  ~TrajectoryLog();
  void append(const LogEntry& entry);
  // Flushes and seals the open segment; nothing can be appended any more. The destructor does it too, but keeps quiet about failures.
  void close();

 private:
  struct Impl;
  explicit TrajectoryLog(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Reads all entries of a folder's segments in order of their sequence numbers; memory-mapped, records are views that keep the mapping alive.
// A torn tail (what a crash in the middle of a write leaves) ends the log with a warning; damage anywhere else is a data_error naming segment and
// offset. data_error also if the folder holds no log. Records come as they were received: decode_record() still has to judge them.
class TrajectoryLogReader {
 public:
  explicit TrajectoryLogReader(const std::string& folder);
  ~TrajectoryLogReader();
  // Next entry, or nothing at the end. The header comes once, before all others.
  std::optional<LogEntry> next();
  // For a log that is being written (log_follower.h): next() also finds what came since, and stops before the entry of this number.
  void extend(std::uint64_t end_seq);
  const std::vector<std::string>& warnings() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nabla
