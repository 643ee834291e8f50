#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

struct LogTrim {
  std::vector<std::string> segments;  // paths, oldest first
  std::uint64_t bytes = 0, entries = 0;
  std::string kept_because;  // why the segment behind them stays
};

// The oldest segments of a log that nothing needs which trains update `before_update` or a later one: sealed, all their records, discards and trained
// updates are of earlier updates, and they publish no version that a record still needed was made by. Never the last segment. data_error for damage on the way.
LogTrim plan_trim(const std::string& folder, std::int64_t before_update);

// Unlinks them, oldest first, so that the log is whole at any moment; nothing else is changed, and a process may be appending. failure naming the file
// that cannot be unlinked.
LogTrim trim_log(const std::string& folder, std::int64_t before_update);

}  // namespace nabla
