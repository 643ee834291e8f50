#include "learner/learner.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/heap.h"
#include "common/log.h"
#include "learner/checkpoint/checkpoint_writer.h"
#include "learner/checkpoint/fleet_totals.h"
#include "learner/checkpoint/past_run.h"
#include "learner/fleet_status.h"
#include "learner/ingest.h"
#include "learner/publisher.h"
#include "learner/rank_courier.h"
#include "learner/run_session.h"
#include "protocol/endpoints.h"
#include "protocol/fleet_server.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <mutex>

namespace nabla {

namespace {

constexpr std::chrono::milliseconds kPoll{100};
constexpr double kWaitReportInterval_s = 1.0;

// The sockets' folder of a local fleet; gone with the run.
class IpcFolder {
 public:
  explicit IpcFolder(const std::string& run_id, bool wanted) : path_(wanted ? make_ipc_folder(run_id) : "") {}
  ~IpcFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  IpcFolder(const IpcFolder&) = delete;
  IpcFolder& operator=(const IpcFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// fleet.bind: ipc, or the control socket's TCP address; weights are served from another port of the same address.
FleetServerOptions server_options(const LearnerOptions& learner, const std::string& ipc_folder) {
  const FleetConfig& fleet = learner.config.fleet;
  FleetServerOptions options;
  options.keys = learner.keys;
  options.insecure = learner.insecure;
  const std::string& bind = fleet.bind;
  if (bind == "ipc") {
    options.control_address = "ipc://" + ipc_folder + "/control";
    options.weights_address = "ipc://" + ipc_folder + "/weights";
    return options;
  }
  const std::size_t colon = bind.rfind(':');
  const std::string host = bind.substr(0, colon), port = bind.substr(colon + 1);
  options.control_address = host + ":" + (port == "0" ? "*" : port);
  options.weights_address = host + ":" + (fleet.weights_port == 0 ? "*" : std::to_string(fleet.weights_port));
  return options;
}

// Where other threads ask how the run stands: they may ask at any time, and the run may end at any time.
class StatusDesk {
 public:
  explicit StatusDesk(std::function<FleetStatus()> look) : look_(std::move(look)) {}
  std::shared_ptr<const FleetStatus> ask() {
    const std::lock_guard lock(mutex_);
    return look_ ? std::make_shared<const FleetStatus>(look_()) : nullptr;
  }
  // Waits for who is asking; from now on the answer is null.
  void close() {
    const std::lock_guard lock(mutex_);
    look_ = nullptr;
  }

 private:
  std::mutex mutex_;
  std::function<FleetStatus()> look_;  // guarded by mutex_
};

// What the training thread tells those who ask.
struct TrainingState {
  std::int64_t updates_done = 0;
  std::optional<std::int64_t> waits_for;  // the update; the number of all updates: the last evaluations
  std::map<std::int64_t, std::int64_t> lags;
  double drift = 0;
};

// A run fed by actors.
class LiveRun {
 public:
  LiveRun(const LearnerOptions& options, const std::shared_ptr<ProcessGroup>& group, RunObserver& observer)
      : options_(options),
        observer_(observer),
        session_(options.config, options.run_dir, options.run_id, observer, group),
        courier_(session_.group(), session_.plan().slots_per_update()),
        publisher_(session_.model()),
        log_(open_log()),
        checkpoints_(options.run_dir + "/checkpoints", options.config.checkpoint),
        queue_(session_.plan().slots_per_update(), slot_content(options.config)),
        ingest_(ingest_options(), session_.plan(), session_.record_rules(options.run_id), versions_, queue_),
        ipc_folder_(options.run_id, options.config.fleet.bind == "ipc"),
        server_(std::make_unique<FleetServer>(server_options(options, ipc_folder_.path()), ingest_)) {
    if (past_) take_up(*past_);
  }

  LearnerResult execute(const std::stop_token& stop) {
    std::exception_ptr error;
    bool complete = false;
    try {
      const std::stop_callback pass_on(stop, [this] { interrupt_.request_stop(); });
      complete = start(stop) && train_all(stop);
      courier_.finish();
      complete = complete && wait_for_evaluations(stop);
    } catch (...) {
      error = std::current_exception();
    }
    end_service();
    const auto attempt = [&error](auto work) {
      try {
        work();
      } catch (const std::exception& problem) {
        if (error) log_error("{}", problem.what());  // the first one ended the run
        if (!error) error = std::current_exception();
      }
    };
    attempt([&] { log_->close(); });  // what the checkpoint says was trained is in the log
    const bool has_no_room = ingest_.failure() || checkpoints_.has_failed();
    if (!error) {
      attempt([&] { write_last_checkpoint(complete); });
    } else if (has_no_room && !past_) {
      attempt([&] { write_checkpoint_in_reserve(); });
    }
    attempt([&] { checkpoints_.wait(); });
    add_fleet_totals(session_.summary());
    session_.summary().ledger = ingest_.ledger(session_.summary().trajectories);
    return session_.finish(error, !complete);
  }

 private:
  // The log of the run, and what it was where it goes on.
  std::unique_ptr<TrajectoryLog> open_log() {
    OpenedLog opened = open_run_log(options_, session_);
    past_ = std::move(opened.past);
    return std::move(opened.log);
  }

  // Brings everybody to where the checkpoint and the log say. Nothing is written, so that a run that cannot go on stays as it is.
  void take_up(PastRun& past) {
    if (past.checkpoint) {
      session_.restore(*past.checkpoint, RunSession::Restore::kAll);
      checkpoints_.set_last(past.checkpoint->next_update);
      fleet_totals_.begin_with(past.checkpoint->actors);
    }
    ingest_.restore(restored_run(past, session_, versions_));
  }

  IngestOptions ingest_options() {
    IngestOptions ingest;
    ingest.welcome.run_id = options_.run_id;
    ingest.welcome.config = options_.config_text;
    ingest.welcome.base_digest = session_.model().base_digest;
    ingest.welcome.step_table_id = session_.model().table.id;
    ingest.lockstep = options_.config.fleet.lockstep;
    ingest.keep_versions = options_.config.fleet.max_policy_lag + 1;
    ingest.issuer = IssuerOptions::from(options_.config.fleet);
    ingest.append = [this](const LogEntry& entry) { log_->append(entry); };
    ingest.clock = monotonic_seconds;
    ingest.on_failure = [this] { interrupt_.request_stop(); };
    return ingest;
  }

  // False when it was stopped before it had caught up with its log.
  bool start(const std::stop_token& stop) {
    session_.share_state();
    if (!past_) {
      publish(0);
      evaluate(0);
    }
    if (options_.resume) observer_.on_resume(session_.next_update());
    server_->start();
    write_endpoints(options_.run_dir, {options_.run_id, server_->control_endpoint(), server_->weights_endpoint(), getpid(), options_.actor_key_file});
    session_.announce_start(server_->control_endpoint(), [desk = desk_] { return desk->ask(); });
    if (past_ && !catch_up(*past_, stop)) return false;
    past_.reset();
    checkpoints_.keep_room(expected_checkpoint_bytes());
    ingest_.go_on();
    return true;
  }

  // Trains again what the log says was trained after the checkpoint. False when it was stopped.
  bool catch_up(const PastRun& past, const std::stop_token& stop) {
    const LogHistory& history = past.history;
    log_info("goes on with update {}; the log knows of {} trained updates", session_.next_update(), history.trained_updates());
    tell([&](TrainingState& state) { state.updates_done = session_.next_update(); });
    if (past.checkpoint) {
      for (const auto& [update, drift] : past.checkpoint->pending_evaluations) ingest_.request_evaluation(update, update, drift);
      drift_ = publisher_.drift();
      // Published in the log, or never, or not any more before the crash.
      if (is_published(session_.next_update()) && !history.published.contains(session_.next_update())) publish(session_.next_update());
    } else {
      publish(0);
      evaluate(0);
    }
    while (session_.next_update() < history.trained_updates()) {
      const std::int64_t update = session_.next_update();
      const auto records = queue_.take_for(update, std::chrono::milliseconds(0));
      const auto trained = history.trained.find(update);
      if (!records || trained == history.trained.end() || slots_of(*records) != trained->second) {
        if (const auto error = ingest_.failure()) std::rethrow_exception(error);
        throw data_error("[learner] the log says that update {} was trained, but does not hold the records that it was trained on", update);
      }
      tell_wait(fmt::format("training update {} of {} again from the log", update + 1, history.trained_updates()));
      if (!courier_.send(*records)) return false;
      auto metrics = session_.train(own_share(*records), stop);
      if (!metrics) return false;
      ingest_.trained_again(update, slots_of(*records));
      (*metrics)["wait_for_batch"] = (*metrics)["timing/wait_s"] = 0;
      after_update(*records, *metrics);
    }
    return true;
  }

  // Tells the actors that the run is over. Afterwards nothing changes the ledger any more, so it can be added up, and no record meets a
  // closed log.
  void end_service() {
    desk_->close();
    remove_endpoints(options_.run_dir);
    server_->finish();
    server_counters_ = server_->counters();
    server_.reset();
  }

  // True when all updates were trained, false when it was stopped.
  bool train_all(const std::stop_token& stop) {
    for (std::int64_t update = session_.next_update(); update < session_.plan().num_updates(); ++update) {
      const double wait_start = monotonic_seconds();
      const auto records = wait_for(update, stop);
      if (!records || !courier_.send(*records)) return false;
      const double waited = monotonic_seconds() - wait_start;
      session_.timers().add("wait_for_batch", waited);
      auto metrics = session_.train(own_share(*records), interrupt_.get_token());
      if (!metrics) {
        rethrow_failure();
        return false;
      }
      (*metrics)["wait_for_batch"] = (*metrics)["timing/wait_s"] = waited;
      finish_update(*records, *metrics);
    }
    return true;
  }

  UpdateRecords own_share(const UpdateRecords& records) {
    return share_of(records, session_.plan().slots_per_update(), session_.group());
  }

  static std::vector<std::int64_t> slots_of(const UpdateRecords& records) {
    std::vector<std::int64_t> slots;
    for (const auto& record : records.records) slots.push_back(record->header.slot);
    return slots;
  }

  bool is_judged(std::int64_t version) const {
    const std::int64_t every = options_.config.eval.every;
    return version == session_.plan().num_updates() || (every > 0 && version % every == 0);
  }

  // An update that is relabelled names its own version, whatever its samples name. What was published once stays so, if a run goes on with more updates.
  bool is_published(std::int64_t version) const {
    if (past_ && past_->history.published.contains(version)) return true;
    return is_judged(version) || version % options_.config.fleet.publish_every == 0 || session_.plan().relabels();
  }

  void finish_update(const UpdateRecords& records, std::map<std::string, double>& metrics) {
    unlogged_ = TrainedEntry{records.update, slots_of(records)};
    ingest_.trained(records.update, unlogged_->slots);
    unlogged_.reset();
    after_update(records, metrics);
    const bool is_last = session_.next_update() == session_.plan().num_updates();  // that one is written when its evaluation is there
    if ((checkpoints_.is_due(session_.next_update()) && !is_last) || is_checkpoint_wanted()) write_checkpoint();
    checkpoints_.check();
  }

  void after_update(const UpdateRecords& records, std::map<std::string, double>& metrics) {
    const double start_s = monotonic_seconds();
    const std::int64_t version = records.update + 1;
    if (is_published(version)) publish(version);
    if (is_judged(version)) evaluate(version);
    metrics["timing/publish_s"] = monotonic_seconds() - start_s;
    metrics["queue/depth"] = static_cast<double>(queue_.held_slots());
    metrics["unet_l2_to_ref"] = drift_;
    session_.timers().add("publish", metrics["timing/publish_s"]);
    note_update(records);
    session_.report_update(metrics);
    deliver_evaluations(std::chrono::milliseconds(0));
  }

  void note_update(const UpdateRecords& records) {
    tell([&](TrainingState& state) {
      state.updates_done = records.update + 1;
      for (const auto& record : records.records) ++state.lags[policy_lag(records, *record)];
    });
  }

  template <class Change>
  void tell(Change change) {
    const std::lock_guard lock(state_mutex_);
    change(state_);
  }

  // Called from other threads, between start() and end_service().
  FleetStatus status() {
    FleetStatus status = ingest_.status();
    TrainingState state;
    tell([&](const TrainingState& now) { state = now; });
    status.wall_s = session_.wall_s();
    status.updates_done = state.updates_done;
    status.last_checkpoint = checkpoints_.last();
    status.lags = std::move(state.lags);
    status.drift = state.drift;
    if (state.waits_for) status.waiting_for = ingest_.wait_reason(*state.waits_for);
    status.stage_seconds = session_.timers().all();
    status.peak_rss_bytes = peak_resident_bytes();
    const auto counters = server_->counters();
    for (const auto& [name, count] : counters) {
      if (!name.starts_with("actor.")) status.messages[name] = count;
    }
    for (auto& actor : status.actors) {
      const auto count_of = [&](const char* what) {
        const auto found = counters.find(fmt::format("actor.{}.{}", actor.id, what));
        return found == counters.end() ? 0 : found->second;
      };
      actor.records = count_of("records");
      actor.rejected = count_of("rejected");
      actor.malformed = count_of("malformed");
    }
    return status;
  }

  void publish(std::int64_t version) {
    Publication publication = publisher_.publish(version);
    drift_ = publication.drift;
    tell([&](TrainingState& state) { state.drift = drift_; });
    if (!past_ || !past_->history.published.contains(version)) return ingest_.publish(std::move(publication.snapshot));
    const std::string& digest = past_->history.published.at(version);
    if (publication.snapshot.digest != digest) {
      throw failure(
          "[learner] replay_diverged: version {} has digest {} here, {} in the log. Is it the same binary, CPU model, learner.threads, learner.ranks and torch?",
          version, publication.snapshot.digest, digest);
    }
    ingest_.publish_again(std::move(publication.snapshot));
  }

  void evaluate(std::int64_t version) {
    const auto& known = session_.summary().evaluation;
    const bool is_known = std::ranges::any_of(known, [&](const auto& evaluation) { return evaluation.update == version; });
    if (!is_known) ingest_.request_evaluation(version, version, drift_);
  }

  void write_checkpoint() {
    AuthorityState authority = ingest_.state();
    for (auto& evaluation : authority.finished) session_.report_evaluation(std::move(evaluation));
    Checkpoint checkpoint = session_.checkpoint();
    checkpoint.config_text = options_.config_text;
    checkpoint.snapshots = std::move(authority.snapshots);
    for (const auto& [update, drift] : authority.evaluating) checkpoint.pending_evaluations.push_back({update, drift});
    add_fleet_totals(checkpoint.so_far);
    checkpoint.so_far.ledger.discarded = ingest_.discarded_before(session_.next_update());
    checkpoint.actors = fleet_totals_.told_work(ingest_);
    checkpoints_.write(std::move(checkpoint));
  }

  bool is_checkpoint_wanted() { return options_.checkpoint_wanted && options_.checkpoint_wanted->exchange(false); }

  // Before the first one was written, whose pictures may be eight times as wide as latents.
  std::uint64_t expected_checkpoint_bytes() {
    // A tensor's line in its file's header; and what else is written: state and history, the end of the log, and what file systems round up.
    constexpr std::uint64_t kNameBytes = 256, kFacts = 1 << 18;
    const auto bytes_of = [](const TensorMap& tensors) {
      std::uint64_t bytes = 0;
      for (const auto& [name, tensor] : tensors) bytes += tensor.nbytes() + kNameBytes;
      return bytes;
    };
    constexpr std::uint64_t kPixelBytes = 3 * 8 * 8, kKeptEvaluations = 2;
    const auto& shape = session_.model().latent_shape;
    const auto snapshots = static_cast<std::uint64_t>(options_.config.fleet.max_policy_lag + 2);
    const std::uint64_t pictures = kKeptEvaluations * session_.plan().evaluation_pictures().size();
    return kFacts + bytes_of(session_.checkpoint().training) + snapshots * bytes_of(session_.model().policy->lora().tensors()) +
           pictures * kPixelBytes * static_cast<std::uint64_t>(shape[1] * shape[2]);
  }

  // Of a run whose disk is full. An update that was trained and that the log had no room to say so of is told there first.
  void write_checkpoint_in_reserve() {
    checkpoints_.free_room();
    if (unlogged_) {
      log_.reset();
      append_to_run_log(options_, session_, *unlogged_);
    }
    write_checkpoint();
    checkpoints_.wait();
    log_info("the last checkpoint, of update {}, is in the room that was kept for it", session_.next_update());
  }

  // A run that ends well ends with one, unless nobody asked for any and all was trained.
  void write_last_checkpoint(bool complete) {
    if (!complete || options_.config.checkpoint.every > 0) write_checkpoint();
  }

  std::optional<UpdateRecords> wait_for(std::int64_t update, const std::stop_token& stop) {
    wait_began_at_ = actor_seen_at_ = monotonic_seconds();  // the time of an update is no time of waiting for an actor
    tell([&](TrainingState& state) { state.waits_for = update; });
    while (!stop.stop_requested() && courier_.keep_waiting()) {
      if (auto records = queue_.take_for(update, kPoll)) {
        tell([](TrainingState& state) { state.waits_for.reset(); });
        return records;
      }
      check_fleet(update);
      deliver_evaluations(std::chrono::milliseconds(0));
      if (is_checkpoint_wanted()) write_checkpoint();
    }
    return std::nullopt;
  }

  // True when every evaluation was reported, false when it was stopped.
  bool wait_for_evaluations(const std::stop_token& stop) {
    wait_began_at_ = actor_seen_at_ = monotonic_seconds();
    tell([&](TrainingState& state) { state.waits_for = session_.plan().num_updates(); });
    while (ingest_.evaluations_pending()) {
      if (stop.stop_requested()) return false;
      deliver_evaluations(kPoll);
      check_fleet(session_.plan().num_updates());
    }
    deliver_evaluations(std::chrono::milliseconds(0));
    return true;
  }

  void deliver_evaluations(std::chrono::milliseconds timeout) {
    for (auto& evaluation : ingest_.take_finished_evaluations(timeout)) session_.report_evaluation(std::move(evaluation));
  }

  void rethrow_failure() {
    if (const auto error = ingest_.failure()) std::rethrow_exception(error);
    if (const auto error = server_->failure()) std::rethrow_exception(error);
    checkpoints_.check();
  }

  // Throws what ended the run; tells whom it waits for once a second; gives up when no actor was there, or none did anything, for fleet.actor_deadline.
  void check_fleet(std::int64_t update) {
    rethrow_failure();
    const double now = monotonic_seconds(), deadline = options_.config.fleet.actor_deadline_s;
    const auto last_move = ingest_.last_move();
    if (last_move) actor_seen_at_ = now;
    const double alone = now - actor_seen_at_;
    if (alone > deadline) {
      throw network_error(
          "[learner] no actor was connected for {:.0f} s (fleet.actor_deadline); start one with `nabla actor --connect {}`, or at {}",
          alone, options_.run_dir, server_->control_endpoint());
    }
    if (last_move) require_movement(now - std::max(*last_move, wait_began_at_));
    tell_wait(alone > 0 ? fmt::format("no actor is connected ({:.0f} of {:.0f} s)", alone, deadline) : ingest_.wait_reason(update));
  }

  void tell_wait(const std::string& reason) {
    const double now = monotonic_seconds();
    if (now - wait_reported_at_ < kWaitReportInterval_s) return;
    wait_reported_at_ = now;
    observer_.on_wait(reason);
  }

  // An actor that holds a ticket may take fleet.ticket_timeout over a step.
  void require_movement(double still_s) const {
    const FleetConfig& fleet = options_.config.fleet;
    if (still_s <= std::max(fleet.actor_deadline_s, fleet.ticket_timeout_s)) return;
    throw network_error(
        "[learner] no actor has done anything for {:.0f} s (fleet.actor_deadline); {}; look into {}/logs/ and at what they read (model "
        "folder, network file system), or raise fleet.actor_deadline",
        still_s, ingest_.describe_actors(), options_.run_dir);
  }

  void add_fleet_totals(RunSummary& summary) const {
    fleet_totals_.add(summary, ingest_, server_ ? server_->counters() : server_counters_);
  }

  const LearnerOptions& options_;
  RunObserver& observer_;
  RunSession session_;
  RankCourier courier_;
  Publisher publisher_;
  FleetTotals fleet_totals_;
  std::optional<PastRun> past_;  // of a run that goes on, until it has caught up
  std::optional<TrainedEntry> unlogged_;  // while the log is told of it
  std::unique_ptr<TrajectoryLog> log_;
  std::stop_source interrupt_;  // of the update in hand: a stop, or a run that failed
  CheckpointWriter checkpoints_;
  VersionJournal versions_;
  TrajectoryQueue queue_;
  Ingest ingest_;
  IpcFolder ipc_folder_;
  std::unique_ptr<FleetServer> server_;  // after all that its thread uses; null once the run is over
  std::map<std::string, std::int64_t> server_counters_;
  double drift_ = 0, wait_began_at_ = 0, actor_seen_at_ = 0, wait_reported_at_ = 0;
  std::mutex state_mutex_;
  TrainingState state_;                      // guarded by state_mutex_
  const std::shared_ptr<StatusDesk> desk_ = std::make_shared<StatusDesk>([this] { return status(); });  // closed before anything above goes
};

}  // namespace

LearnerResult run_learner(const LearnerOptions& options, RunObserver& observer, std::stop_token stop) {
  const auto group = options.group ? options.group : std::make_shared<LocalProcessGroup>();
  return abort_on_error(*group, [&] { return LiveRun(options, group, observer).execute(stop); });
}

}  // namespace nabla
