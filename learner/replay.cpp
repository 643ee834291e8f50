#include "learner/learner.h"

#include "common/error.h"
#include "common/log.h"
#include "learner/checkpoint/checkpoint_choice.h"
#include "learner/foreign_replay.h"
#include "learner/foreign_rules.h"
#include "learner/ledger.h"
#include "learner/record_validator.h"
#include "learner/replay_source.h"
#include "learner/run_session.h"
#include "learner/saved_trajectories.h"
#include "learner/trajectory_queue.h"
#include "protocol/trajectory_log.h"

#include <algorithm>
#include <set>

namespace nabla {

namespace {

// Whether the weights must come out bit for bit: sums over another number of ranks round otherwise.
enum class Digests { kCompared, kOfOtherRanks };

// The update step fed by a log instead of actors. The log is read once, in order: a version is checked where it was published, an update is
// trained where it was. Every rank of a group reads the whole log and trains its own slots.
class OwnReplay {
 public:
  // The source stands behind the header, whose run id is given. The session is new, or was restored from a checkpoint of the run.
  OwnReplay(RunSession& session, ReplaySource& source, const std::string& run_id, Digests digests)
      : session_(session),
        source_(source),
        digests_(digests),
        first_(session.next_update()),
        trained_(first_),
        queue_(session.plan().slots_per_update(), slot_content(session.config())),
        validator_(session.record_rules(run_id), session.plan(), versions_) {}

  LearnerResult execute(const std::stop_token& stop) {
    std::exception_ptr error;
    try {
      session_.announce_start("");
      while (!stopped_ && !done()) {
        if (is_alone() && stop.stop_requested()) break;
        const auto entry = source_.next(is_alone() ? stop : std::stop_token());
        if (!entry) break;
        std::visit([&](const auto& known) { take(known, stop); }, *entry);
      }
      for (const auto& warning : source_.warnings()) log_warning("{}", warning);
      if (!stopped_ && !stop.stop_requested()) warn_of_the_end();
    } catch (...) {
      error = std::current_exception();
    }
    RunSummary& summary = session_.summary();
    summary.ledger = {static_cast<std::int64_t>(slots_.size()), summary.trajectories, queue_.held_slots(), discards_.by_reason()};
    return session_.finish(error, (stopped_ || stop.stop_requested()) && !done());
  }

 private:
  // Ranks agree to stop while they train an update: until then each reads on.
  bool is_alone() const { return session_.group().size() == 1; }

  // All asked-for updates are trained, and the last version was checked.
  bool done() const { return trained_ == session_.plan().num_updates() && checked_ == trained_; }

  void warn_of_the_end() const {
    if (trained_ < session_.plan().num_updates())
      log_warning("the log ends after update {} of {}", trained_, session_.plan().num_updates());
    if (checked_ < trained_) log_warning("the log holds no digest of version {}; version {} was the last one checked", trained_, checked_);
  }

  void take(const LogHeader&, const std::stop_token&) { throw data_error("[replay] a second log header stands inside the log"); }

  void take(const PublishEntry& entry, const std::stop_token&) {
    if (entry.version > session_.plan().num_updates()) return;
    if (entry.version < first_) return versions_.publish(entry.version, entry.digest);
    if (entry.version != trained_) {
      throw data_error("[replay] the log publishes version {} after {} trained updates; parts of the log are missing", entry.version,
                       trained_);
    }
    const std::string digest = session_.model().policy->digest();
    if (digests_ == Digests::kCompared && digest != entry.digest) {
      throw failure(
          "[replay] replay_diverged: version {} has digest {} here, {} in the log. Is it the same binary, CPU model, learner.threads, "
          "learner.ranks and torch?",
          entry.version, digest, entry.digest);
    }
    versions_.publish(entry.version, entry.digest);
    checked_ = entry.version;
  }

  void take(const EncodedRecord& encoded, const std::stop_token&) {
    if (is_before(encoded)) return;
    const Verdict verdict = validator_.validate(encoded);
    const RecordHeader& header = verdict.record->header;
    if (verdict.reject == Reject::kUnknownSlot && header.slot >= session_.plan().num_slots()) return;  // beyond the updates asked for
    if (verdict.reject != Reject::kNone) {
      throw data_error("[replay] the record of slot {} is refused: {} ({})", header.slot, name_of(verdict.reject), verdict.reason);
    }
    slots_.insert(header.slot);
    queue_.push(verdict.record);
  }

  // Of an update that the checkpoint has trained.
  bool is_before(const EncodedRecord& encoded) const {
    if (first_ == 0) return false;
    const RecordLimits unread{.check_crc = false, .check_finite = false};
    const DecodeResult decoded = decode_record(encoded, unread);
    return decoded.reject == Reject::kNone && session_.plan().update_of(decoded.record.header.slot) < first_;
  }

  void take(const DiscardEntry& entry, const std::stop_token&) {
    if (entry.slot >= session_.plan().num_slots() || entry.update < first_) return;
    slots_.insert(entry.slot);
    discards_.add(entry);
    queue_.discard(entry.slot);
  }

  void take(const TrainedEntry& entry, const std::stop_token& stop) {
    if (entry.update >= session_.plan().num_updates() || entry.update < first_) return;
    const auto records = queue_.take_for(entry.update, std::chrono::milliseconds(0));
    std::vector<std::int64_t> slots;
    for (const auto& record : records ? records->records : std::vector<SharedRecord>{}) slots.push_back(record->header.slot);
    if (!records || entry.update != trained_ || slots != entry.slots) {
      throw data_error(
          "[replay] update {} was trained on {} slots, the log holds {} of them before that point; parts of the log are missing",
          entry.update, entry.slots.size(), slots.size());
    }
    auto metrics = session_.train(share_of(*records, session_.plan().slots_per_update(), session_.group()), stop);
    stopped_ = !metrics.has_value();
    if (stopped_) return;
    ++trained_;
    queue_.finish(entry.update);
    (*metrics)["queue/depth"] = static_cast<double>(queue_.held_slots());
    session_.report_update(*metrics);
  }

  RunSession& session_;
  ReplaySource& source_;
  const Digests digests_;
  const std::int64_t first_;  // where it begins
  std::int64_t trained_, checked_ = -1;
  bool stopped_ = false;
  VersionJournal versions_;
  TrajectoryQueue queue_;
  RecordValidator validator_;
  DiscardCount discards_;
  std::set<std::int64_t> slots_;  // seen in the log: records and discards
};

const std::string& the_log(const ReplayOptions& options) {
  if (options.logs.size() == 1) return options.logs.front();
  throw usage_error("[replay] {} logs were named; this version replays the log of one run, with one rank", options.logs.size());
}

// The digests of a log belong to the number of ranks that trained.
Digests digests_of(const ReplayOptions& options, const LogHeader& header, const ProcessGroup& group) {
  const int ranks = group.size();
  const std::int64_t theirs = (options.parse_config ? options.parse_config(header.config) : options.config).learner.ranks;
  if (theirs == ranks) return Digests::kCompared;
  if (group.rank() == 0)
    log_warning("{} rank{} trained this log, {} train{} it now and add up in another order: weights are not compared with the log's",
                theirs, theirs == 1 ? "" : "s", ranks, ranks == 1 ? "s" : "");
  return Digests::kOfOtherRanks;
}

LearnerResult replay_with(RunSession& session, const ReplayOptions& options, std::stop_token stop) {
  const std::string& folder = the_log(options);
  ReplaySource source(folder, {options.records_per_s, options.follow});
  const LogHeader header = log_header_in(source.next(stop), folder);
  const bool own = header.relabelled_with.empty() && header.weights_contract == session.weights_contract();
  if (!options.from.empty()) {
    if (!own) throw usage_error("[replay] the records of '{}' are foreign; --from goes on from a checkpoint of the log's own run", folder);
    const Checkpoint checkpoint = load_checkpoint(options.from);
    require_same_run(checkpoint, {header.run_id, header.weights_contract}, options.from);
    session.restore(checkpoint, RunSession::Restore::kWeightsAlone);
  }
  if (own) return OwnReplay(session, source, header.run_id, digests_of(options, header, session.group())).execute(stop);
  if (options.follow || options.records_per_s > 0)
    throw usage_error("[replay] the records of '{}' are foreign; --follow and --rate replay the log of a run under its own configuration",
                      folder);
  if (!options.parse_config)
    throw usage_error("[replay] the records of '{}' are foreign: run {} made them with another configuration", folder, header.run_id);
  require_usable(options.config, session.model().base_digest, {folder, header, options.parse_config(header.config)});
  TrajectoryLogReader reader(folder);
  reader.next();  // the header
  const auto saved = read_trajectories(reader, session.record_rules(header.run_id));
  const auto records = numbered_anew(saved, session.plan().slots_per_update());
  for (const auto& warning : reader.warnings()) log_warning("{}", warning);
  return replay_foreign(session, records, stop);
}

}  // namespace

LearnerResult replay_logs(const ReplayOptions& options, RunObserver& observer, std::stop_token stop) {
  const auto group = options.group ? options.group : std::make_shared<LocalProcessGroup>();
  return abort_on_error(*group, [&] {
    RunSession session(options.config, options.run_dir, options.run_id, observer, group);
    return replay_with(session, options, stop);
  });
}

}  // namespace nabla
