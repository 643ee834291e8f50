#pragma once

#include "learner/record_validator.h"
#include "learner/trajectory_queue.h"
#include "protocol/trajectory_log.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

// The header that a log begins with, from its first entry. data_error naming the folder if there is none.
LogHeader log_header_in(const std::optional<LogEntry>& first, const std::string& folder);

// The rest of a log, whoever made it, from where the reader stands: its trajectories in the order of their slots. Relabel records and discarded slots are left
// out. data_error naming the slot of a record that does not fit the rules: another step table, shape, vocabulary or gradient kind, a missing tensor, damage.
// Which prompts, seeds, transitions and versions they have is not judged, as it would be for a run's own records.
std::vector<SharedRecord> read_trajectories(TrajectoryLogReader& reader, const RecordRules& rules);

// The same with slots from 0 on, so that consecutive ones make an update of another run. Their versions were of another: each takes its
// update's, so that none lags. All else stays.
std::vector<SharedRecord> numbered_anew(const std::vector<SharedRecord>& records, std::int64_t slots_per_update);

}  // namespace nabla
