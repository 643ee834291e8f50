#include "tests/chaos/fake_learner.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/failpoint.h"
#include "common/files.h"
#include "common/json_file.h"
#include "common/log.h"
#include "learner/checkpoint/checkpoint_folder.h"
#include "learner/ingest.h"
#include "protocol/log_recovery.h"
#include "tests/chaos/restored_tickets.h"

#include <filesystem>
#include <optional>
#include <thread>
#include <variant>

namespace nabla::chaos {

namespace {

constexpr std::chrono::milliseconds kPoll{20};
constexpr std::int64_t kCheckpointEvery = 3;
constexpr const char* kState = "state.json";

std::int64_t allowed_updates(const std::string& run_dir) {
  constexpr std::size_t kMaxBytes = 64;
  const std::string path = run_dir + "/allowed";
  return std::filesystem::exists(path) ? std::stol(read_file(path, kMaxBytes)) : 0;
}

std::string checkpoints_of(const std::string& run_dir) { return run_dir + "/checkpoints"; }

// Says in the learner's words who is welcomed.
class NotingIngest : public Ingest {
 public:
  using Ingest::Ingest;
  std::variant<Welcome, Refusal> on_hello(const Hello& hello) override {
    auto answer = Ingest::on_hello(hello);
    if (std::holds_alternative<Welcome>(answer)) log_info("actor {} has said hello", hello.actor_id);
    return answer;
  }
};

class FakeLearner {
 public:
  explicit FakeLearner(const FakeLearnerOptions& options)
      : options_(options),
        plan_(plan_of(options.shape)),
        queue_(plan_.slots_per_update()),
        ingest_(ingest_options(), plan_, rules_of(options.shape), versions_, queue_),
        weights_(first_weights(options.shape)) {
    open_log();
    FleetServerOptions server;
    server.control_address = options.control;
    server.weights_address = options.weights;
    server.heartbeat_interval = options.heartbeat;
    server.insecure = true;  // a network namespace is reached by an address that is not loopback's
    server_ = std::make_unique<FleetServer>(server, ingest_);
  }

  void run() {
    server_->start();
    while (next_update_ < plan_.num_updates()) train(wait_for(next_update_));
    server_->finish();
    server_.reset();
    log_->close();
    write_ledger();
  }

 private:
  IngestOptions ingest_options() {
    IngestOptions ingest;
    ingest.welcome.run_id = kRunId;
    ingest.welcome.config = text_of(options_.shape);
    ingest.welcome.base_digest = kBaseDigest;
    ingest.welcome.step_table_id = rules_of(options_.shape).step_table_id;
    ingest.welcome.weights_endpoint = options_.announced_weights;
    ingest.lockstep = options_.shape.lockstep;
    ingest.keep_versions = options_.shape.max_policy_lag + 2;
    ingest.issuer = issuer_of(options_.shape);
    ingest.append = [this](const LogEntry& entry) { append(entry); };
    ingest.clock = monotonic_seconds;
    return ingest;
  }

  // While the log is read again, what stands in it is not written a second time.
  void append(const LogEntry& entry) {
    const auto* discard = std::get_if<DiscardEntry>(&entry);
    if (!restoring_ || (discard != nullptr && !discarded_.contains(discard->slot))) log_->append(entry);
  }

  void open_log() {
    TrajectoryLogOptions log;
    log.folder = options_.run_dir + "/log";
    log.durability = options_.durability;
    log.segment_bytes = options_.segment_bytes;
    const LogHeader header{kRunId, "chaos-contract", text_of(options_.shape)};
    if (!holds_log(log.folder)) {
      log_ = TrajectoryLog::create(log, header);
      publish(0);
      return;
    }
    ReopenedLog reopened = TrajectoryLog::reopen(log, header);
    log_ = std::move(reopened.log);
    discarded_ = {reopened.recovery.discarded.begin(), reopened.recovery.discarded.end()};
    restore(log.folder);
  }

  // A learner that was killed before its log had a header has left nothing that counts.
  static bool holds_log(const std::string& folder) {
    if (!std::filesystem::exists(folder)) return false;
    try {
      TrajectoryLogReader(folder).next();
      return true;
    } catch (const Error&) {
      const bool is_empty = std::filesystem::file_size(folder + "/q-000000000000.seg") <= 4096;
      if (!is_empty) throw;
      std::filesystem::remove_all(folder);
      return false;
    }
  }

  // Gives the product's parts what the log holds, in its order, and trains again what the checkpoint does not know of.
  void restore(const std::string& folder) {
    const Checkpoint checkpoint = read_checkpoint(options_.run_dir, options_.shape);
    restoring_ = true;
    RestoredTickets tickets(ingest_);
    TrajectoryLogReader reader(folder);
    while (const auto entry = reader.next()) {
      if (const auto* record = std::get_if<EncodedRecord>(&*entry)) restore_record(*record, tickets);
      if (const auto* discard = std::get_if<DiscardEntry>(&*entry)) tickets.discard(discard->slot, options_.shape);
      if (const auto* trained = std::get_if<TrainedEntry>(&*entry)) restore_trained(*trained, checkpoint);
      if (const auto* published = std::get_if<PublishEntry>(&*entry)) restore_published(*published, checkpoint);
    }
    tickets.give_back();
    restoring_ = false;
    if (checkpoint.next_update > next_update_) {
      next_update_ = checkpoint.next_update;
      weights_ = checkpoint.weights;
    }
    if (versions_.newest().first < next_update_) publish(next_update_);
  }

  void restore_record(const EncodedRecord& encoded, RestoredTickets& tickets) {
    const DecodeResult decoded = decode_record(encoded, {});
    if (decoded.reject != Reject::kNone) throw data_error("[chaos] the log holds a record that cannot be read: {}", decoded.reason);
    tickets.take_until(decoded.record.header.slot);
    const Ack ack = ingest_.on_record("restored", encoded);
    if (ack.reject == Reject::kNone || ack.reject == Reject::kDuplicate) return;
    throw data_error("[chaos] the log holds a record that is refused: {} ({})", name_of(ack.reject), ack.reason);
  }

  void restore_trained(const TrainedEntry& entry, const Checkpoint& checkpoint) {
    next_update_ = entry.update + 1;
    if (next_update_ < checkpoint.next_update) weights_ = "unknown";  // until the checkpoint
    if (next_update_ == checkpoint.next_update) weights_ = checkpoint.weights;
    if (next_update_ > checkpoint.next_update) weights_ = weights_after(wait_for(entry.update));
    restoring_ = !seeded_bug("learner.train_twice");
    ingest_.trained(entry.update, entry.slots);
    restoring_ = true;
  }

  void restore_published(const PublishEntry& entry, const Checkpoint& checkpoint) {
    if (entry.version >= checkpoint.next_update && digest_of_weights(weights_) != entry.digest)
      throw failure("[chaos] replay_diverged: version {} was published with another digest", entry.version);
    Snapshot snapshot = snapshot_of(entry.version, weights_);
    snapshot.digest = entry.digest;
    ingest_.publish(std::move(snapshot));
  }

  UpdateRecords wait_for(std::int64_t update) {
    while (true) {
      if (auto records = queue_.take_for(update, kPoll)) return std::move(*records);
      throw_failure();
    }
  }

  void throw_failure() const {
    if (const auto error = ingest_.failure()) std::rethrow_exception(error);
    if (const auto error = server_ ? server_->failure() : nullptr) std::rethrow_exception(error);
  }

  std::string weights_after(const UpdateRecords& update) const {
    std::vector<TrainedRecord> records;
    for (const auto& record : update.records) records.push_back(trained_record(*record));
    return next_weights(weights_, records);
  }

  void train(const UpdateRecords& update) {
    const bool is_last = update.update + 1 == plan_.num_updates();
    while (options_.hold && update.update >= allowed_updates(options_.run_dir)) {
      throw_failure();
      std::this_thread::sleep_for(kPoll);
    }
    std::this_thread::sleep_for(options_.train_time / 2);
    failpoint("learner.mid_train");
    std::this_thread::sleep_for(options_.train_time / 2);
    weights_ = weights_after(update);
    std::vector<std::int64_t> slots;
    for (const auto& record : update.records) slots.push_back(record->header.slot);
    ingest_.trained(update.update, slots);
    next_update_ = update.update + 1;
    publish(next_update_);
    if (is_last || next_update_ % kCheckpointEvery == 0) write_checkpoint();
  }

  void publish(std::int64_t version) { ingest_.publish(snapshot_of(version, weights_)); }

  void write_checkpoint() const {
    const std::int64_t ahead = seeded_bug("checkpoint.cursor_ahead") && next_update_ + 1 < plan_.num_updates() ? 1 : 0;
    chaos::write_checkpoint(options_.run_dir, {next_update_ + ahead, weights_});
  }

  void write_ledger() const {
    const LedgerSummary ledger = ingest_.ledger(plan_.num_slots());
    std::int64_t discarded = 0;
    for (const auto& [reason, count] : ledger.discarded) discarded += count;
    write_json(
        options_.run_dir + "/ledger.json",
        {{"issued", ledger.issued}, {"outstanding", ledger.outstanding}, {"discarded", discarded}, {"duplicates", ingest_.duplicates()}});
  }

  const FakeLearnerOptions options_;
  const SlotPlan plan_;
  VersionJournal versions_;
  TrajectoryQueue queue_;
  std::unique_ptr<TrajectoryLog> log_;
  std::set<std::int64_t> discarded_;  // in the log when it was opened
  bool restoring_ = false;
  NotingIngest ingest_;
  std::string weights_;
  std::int64_t next_update_ = 0;
  std::unique_ptr<FleetServer> server_;  // after all that its thread uses
};

}  // namespace

void run_fake_learner(const FakeLearnerOptions& options) { FakeLearner(options).run(); }

void write_checkpoint(const std::string& run_dir, const Checkpoint& checkpoint) {
  const std::string folder = checkpoints_of(run_dir);
  const nlohmann::ordered_json json{{"next_update", checkpoint.next_update}, {"weights", checkpoint.weights}};
  write_checkpoint_folder(folder, checkpoint.next_update, {{kState, [&](const std::string& path) { write_json(path, json); }}});
  remove_old_checkpoints(folder, {.newest = 2, .multiples = 0}, -1);
}

Checkpoint read_checkpoint(const std::string& run_dir, const Shape& shape) {
  const auto places = find_checkpoints(checkpoints_of(run_dir));
  if (places.empty()) return {0, first_weights(shape)};
  verify_checkpoint_folder(places.back().path);
  const auto json = read_json(places.back().path + "/" + kState);
  return {json.at("next_update").get<std::int64_t>(), json.at("weights").get<std::string>()};
}

}  // namespace nabla::chaos
