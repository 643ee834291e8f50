#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nabla {

// Sums over the entries of one or several logs of a run.
struct LogStatistics {
  std::string run_id, weights_contract;
  std::uint64_t segments = 0, bytes = 0;                                      // files
  std::int64_t first_unix_ms = 0, last_unix_ms = 0;                           // first segment made, last one written to
  std::int64_t samples = 0, relabelled = 0, unreadable = 0, transitions = 0;  // records
  std::uint64_t record_bytes = 0;                                             // header and data frames
  std::map<std::int64_t, std::int64_t> by_version;                            // records
  std::map<std::string, std::int64_t> by_actor;                               // records
  double reward_sum = 0, reward_square_sum = 0, lag_sum = 0;
  double reward_min = 0, reward_max = 0;
  std::int64_t lag_max = 0;
  std::map<std::int64_t, std::string> published;  // digest by version
  std::map<std::string, std::int64_t> discards;   // by reason
  std::int64_t updates = 0, trained = 0;          // updates, slots
  std::vector<std::string> warnings;
};

// Reads the logs whole. data_error for a damaged one.
LogStatistics statistics_of(const std::vector<std::string>& folders);

nlohmann::ordered_json statistics_json(const LogStatistics& statistics);
// The same for people.
std::string statistics_text(const LogStatistics& statistics);

}  // namespace nabla
