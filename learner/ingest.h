#pragma once

#include "learner/actor_book.h"
#include "learner/evaluation_book.h"
#include "learner/fleet_status.h"
#include "learner/ledger.h"
#include "learner/rate_meter.h"
#include "learner/record_validator.h"
#include "learner/snapshot_store.h"
#include "learner/ticket_issuer.h"
#include "learner/trajectory_queue.h"
#include "learner/version_journal.h"
#include "protocol/fleet_server.h"
#include "protocol/trajectory_log.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace nabla {

struct IngestOptions {
  Welcome welcome;  // newest_version is filled in when it is sent
  bool lockstep = false;
  std::int64_t keep_versions = 4;  // snapshots that stay whatever is named
  IssuerOptions issuer;
  // Appends durably; throws when it cannot, and then nothing is acknowledged any more.
  std::function<void(const LogEntry&)> append;
  std::function<double()> clock;  // monotonic seconds
  // Told once of the first error, from whatever thread met it, with the state locked: it must not call back, nor wait.
  std::function<void()> on_failure = {};
};

// What a run that goes on takes from its checkpoint and its log.
struct RestoredRun {
  std::int64_t trained_updates = 0;             // by the log; those behind the checkpoint are trained again
  std::int64_t trained_slots = 0;               // up to the checkpoint
  std::map<std::int64_t, std::string> published;
  std::vector<Snapshot> snapshots;
  std::vector<SharedRecord> records;            // of the updates behind the checkpoint, judged
  std::vector<DiscardEntry> discards;           // likewise
  std::map<std::string, std::int64_t> discarded_before;  // by reason, of the updates before
};

// What a checkpoint takes from the authority, at one moment.
struct AuthorityState {
  std::vector<Snapshot> snapshots;
  std::vector<EvaluationSummary> finished;                  // evaluations that became complete since they were last taken
  std::vector<std::pair<std::int64_t, double>> evaluating;  // update and drift of the others
};

// The authority of a run: answers the fleet and keeps what the training loop needs. FleetServer's thread calls the handlers, the training thread
// the rest; one mutex guards the state, held while the log is written but never while a tensor is computed. After the first error
// (full disk, nondeterministic actor) nothing is issued, appended or acknowledged, the queue is closed and failure() holds the reason.
// `plan`, `journal` and `queue` must outlive it.
class Ingest : public FleetHandler {
 public:
  Ingest(IngestOptions options, const SlotPlan& plan, RecordRules rules, VersionJournal& journal, TrajectoryQueue& queue);

  std::variant<Welcome, Refusal> on_hello(const Hello& hello) override;
  Work on_ticket_request(const std::string& actor_id) override;
  Ack on_record(const std::string& actor_id, EncodedRecord record) override;
  Ack on_evaluation(const std::string& actor_id, EvaluationResult result) override;
  void on_ticket_failed(const std::string& actor_id, std::uint64_t ticket_id, const std::string& reason) override;
  void on_heartbeat(const Heartbeat& heartbeat) override;
  void on_actor_gone(const std::string& actor_id, const std::string& why) override;
  std::optional<Snapshot> on_get_snapshot(std::int64_t version) override;
  std::optional<SlotStates> on_get_states(std::int64_t slot) override;
  void on_tick() override;

  // Before the first message: takes up what is known of a run that goes on. Nothing is issued until the first call of go_on().
  void restore(RestoredRun run);
  // Of an update and a version that the journal knows already.
  void trained_again(std::int64_t update, const std::vector<std::int64_t>& slots);
  void publish_again(Snapshot snapshot);
  void go_on();
  AuthorityState state();
  // Discards of updates below this one, by reason.
  std::map<std::string, std::int64_t> discarded_before(std::int64_t update) const;

  // Journals the version, then lets actors have it.
  void publish(Snapshot snapshot);
  void request_evaluation(std::int64_t update, std::int64_t version, double drift);
  // Evaluations that became complete since the last call; waits for one, or for a failure, at most that long.
  std::vector<EvaluationSummary> take_finished_evaluations(std::chrono::milliseconds timeout);
  bool evaluations_pending() const;
  // The update was trained on these slots: journals it and frees the records.
  void trained(std::int64_t update, const std::vector<std::int64_t>& slots);

  // The first error, or the reason of the issuer to give up; null while all is well.
  std::exception_ptr failure() const;
  std::size_t connected_actors() const;
  // When an actor that is here last did something; nothing if none is here.
  std::optional<double> last_move() const;
  std::string describe_actors() const;
  std::size_t actors_seen() const;
  // Whom the update (or, with all updates trained, an evaluation) waits for; for people.
  std::string wait_reason(std::int64_t update) const;
  std::map<std::string, ActorState> actors() const;
  std::map<std::string, std::int64_t> rejects() const;
  std::int64_t duplicates() const;
  std::int64_t failed_attempts() const;  // at tickets
  // What this class knows of the run, at one moment; the ledger counts as trained what trained() was told.
  FleetStatus status() const;
  // Ledger terms of the issuer (issued, open tickets and untrained records) and of the journal; `trained` is the training loop's own count.
  LedgerSummary ledger(std::int64_t trained_slots) const;

 private:
  Ack refuse(const std::string& actor_id, const Verdict& verdict);
  Ack accept(const SharedRecord& record);
  void note_work(const std::string& actor_id);
  Ack acknowledge(const SharedRecord& record, Reject reject, const std::string& reason) const;
  Ack answer_settled(const SharedRecord& record, SlotState state);
  void journal_discards(const std::vector<DiscardEntry>& discards);
  void take_back(const SharedRecord& record);
  void append(const LogEntry& entry);
  void stop_with(std::exception_ptr error);
  void stop_on_problem();

  IngestOptions options_;
  const SlotPlan& plan_;
  RecordValidator validator_;
  VersionJournal& versions_;
  TrajectoryQueue& queue_;

  std::condition_variable changed_;  // an evaluation is complete, or the run failed
  mutable std::mutex mutex_;         // guards everything below
  TicketIssuer issuer_;
  SnapshotStore snapshots_;
  EvaluationBook evaluations_;
  DiscardCount discards_;
  std::map<std::pair<std::int64_t, TicketKind>, std::string> content_;  // lockstep: digest of what was accepted, by slot and kind
  ActorBook actors_;
  RateMeter records_, images_;
  std::map<std::string, std::int64_t> rejects_;
  std::int64_t duplicates_ = 0, trained_slots_ = 0;
  bool restoring_ = false;  // weights of versions that the journal knows are still to be made again
  std::exception_ptr failure_;
};

}  // namespace nabla
