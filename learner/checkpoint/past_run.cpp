#include "learner/checkpoint/past_run.h"

#include "common/error.h"
#include "learner/checkpoint/checkpoint_choice.h"
#include "protocol/log_recovery.h"

namespace nabla {

namespace {

// The records of updates that are still to be trained, or trained again.
std::vector<SharedRecord> judge(const std::vector<EncodedRecord>& encoded, const RunSession& session, const RecordValidator& validator) {
  const RecordLimits unread{.check_crc = false, .check_finite = false};
  std::vector<SharedRecord> records;
  for (const auto& one : encoded) {
    const std::int64_t slot = decode_record(one, unread).record.header.slot;
    if (session.plan().update_of(slot) < session.next_update() || slot >= session.plan().num_slots()) continue;
    const Verdict verdict = validator.validate(one);
    if (verdict.reject != Reject::kNone) {
      throw data_error(
          "[learner] the log holds a record of slot {} that is refused: {} ({}). A run goes on with the fleet.* options about versions "
          "that it "
          "began with",
          slot, name_of(verdict.reject), verdict.reason);
    }
    records.push_back(verdict.record);
  }
  return records;
}

TrajectoryLogOptions log_options_of(const LearnerOptions& options) {
  const LogConfig& log = options.config.log;
  TrajectoryLogOptions log_options;
  log_options.folder = (log.dir.empty() ? options.run_dir + "/queue" : log.dir) + "/rank-0";
  log_options.durability = durability_from_name(log.durability);
  return log_options;
}

LogHeader header_of(const LearnerOptions& options, const RunSession& session) {
  return {options.run_id, session.weights_contract(), options.config_text, session.base_digest()};
}

}  // namespace

OpenedLog open_run_log(const LearnerOptions& options, const RunSession& session) {
  const TrajectoryLogOptions log_options = log_options_of(options);
  const LogHeader header = header_of(options, session);
  const std::string checkpoints = options.run_dir + "/checkpoints";
  if (!options.resume || !holds_log(log_options.folder)) {
    if (options.resume && (!options.checkpoint.empty() || !find_checkpoints(checkpoints).empty())) {
      throw data_error("[learner] the run in '{}' has checkpoints, but '{}' holds no log to go on with; is log.dir right?", options.run_dir,
                       log_options.folder);
    }
    return {TrajectoryLog::create(log_options, header), std::nullopt};
  }
  ReopenedLog reopened = TrajectoryLog::reopen(log_options, header);
  PastRun past{.history = read_history(log_options.folder), .checkpoint = {}};
  past.checkpoint = choose_checkpoint(checkpoints, options.checkpoint, {header.run_id, header.weights_contract}, past.history);
  return {std::move(reopened.log), std::move(past)};
}

void append_to_run_log(const LearnerOptions& options, const RunSession& session, const LogEntry& entry) {
  const ReopenedLog reopened = TrajectoryLog::reopen(log_options_of(options), header_of(options, session));
  reopened.log->append(entry);
  reopened.log->close();
}

RestoredRun restored_run(PastRun& past, const RunSession& session, VersionJournal& versions) {
  LogHistory& history = past.history;
  if (history.trained_updates() > session.plan().num_updates()) {
    throw usage_error("[learner] the run has trained {} updates, training.updates is {}; set it to at least that",
                      history.trained_updates(), session.plan().num_updates());
  }
  RestoredRun restored;
  if (past.checkpoint) {
    restored.trained_slots = past.checkpoint->so_far.trajectories;
    restored.discarded_before = past.checkpoint->so_far.ledger.discarded;
    restored.snapshots = std::move(past.checkpoint->snapshots);
  }
  restored.trained_updates = history.trained_updates();
  restored.published = history.published;
  for (const auto& [version, digest] : history.published) versions.publish(version, digest);
  const RecordValidator validator(session.record_rules(session.run_id()), session.plan(), versions);
  restored.records = judge(history.records, session, validator);
  history.records.clear();
  for (const auto& entry : history.discards) {
    if (entry.update >= session.next_update()) restored.discards.push_back(entry);
  }
  return restored;
}

}  // namespace nabla
