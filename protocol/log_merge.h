#pragma once

#include "protocol/trajectory_log.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

template <class T>
struct Range {  // both ends belong to it
  T low = std::numeric_limits<T>::lowest(), high = std::numeric_limits<T>::max();
  bool holds(T value) const { return low <= value && value <= high; }
};

// Which records are meant; what is not set lets every record pass.
struct RecordFilter {
  std::optional<Range<std::int64_t>> versions, updates, slots;
  std::optional<Range<double>> rewards;
  std::string actor;   // its whole name; empty: any
  std::string prompt;  // a part of the prompt
  bool passes_all() const;
  bool passes(const RecordHeader& header) const;
};

struct LogMerge {
  std::uint64_t records = 0, discards = 0, updates = 0;  // written
  std::uint64_t duplicates = 0, left_out = 0;            // of the inputs: known before, or not meant by the filter
  bool is_run = true;                                    // the new log can be replayed as its run; else its records count as foreign
};

// Writes the records of several logs of one run (its ranks', or parts of it) into one log in `target`: update by update, in slot order, with the versions
// published before it, its discards and which slots it was trained on. Of records of the same slot and kind the first log's stays. With a filter the new
// log is no run's any more: it gets another weights contract, and neither discards nor trained updates.
// data_error if run id or weights contract differ, if a log is damaged, or if no record passes; failure if `target` holds a log.
LogMerge merge_logs(const std::vector<std::string>& folders, const std::string& target, const RecordFilter& filter);

}  // namespace nabla
