#pragma once

#include "learner/checkpoint/checkpoint.h"
#include "learner/checkpoint/log_history.h"
#include "learner/ingest.h"
#include "learner/run_session.h"
#include "protocol/trajectory_log.h"

#include <memory>
#include <optional>

namespace nabla {

// What a run that goes on was. Without a checkpoint it goes on from version 0.
struct PastRun {
  LogHistory history;
  std::optional<Checkpoint> checkpoint;
};

struct OpenedLog {
  std::unique_ptr<TrajectoryLog> log;
  std::optional<PastRun> past;
};

// Makes the run's log; where the run goes on and has one, opens it again, mended as log_recovery.h says. data_error where log and checkpoints do not belong
// together or to this run.
OpenedLog open_run_log(const LearnerOptions& options, const RunSession& session);

// Appends an entry to the run's log once it is closed and given up by who wrote it.
void append_to_run_log(const LearnerOptions& options, const RunSession& session, const LogEntry& entry);

// What ingest takes from the past of a session that was restored from its checkpoint; takes the snapshots and records out of it. Fills the journal, too, because
// records are judged by it. data_error for a record that is refused, usage_error where more was trained than is asked for.
RestoredRun restored_run(PastRun& past, const RunSession& session, VersionJournal& versions);

}  // namespace nabla
