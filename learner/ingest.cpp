#include "learner/ingest.h"

#include "common/digest.h"
#include "common/error.h"
#include "common/failpoint.h"
#include "common/log.h"

#include <cstring>

namespace nabla {

namespace {

// Faults of what a slot holds, which another attempt would only repeat; the rest are faults of the way or of the sender.
bool condemns_slot(Reject reject) {
  return reject == Reject::kNonFinite || reject == Reject::kBadTensor || reject == Reject::kBadTransitions;
}

SlotStates states_of(const TrajectoryRecord& sample) {
  std::map<std::string, TensorSource> states;
  for (const auto* name : {"x", "y"}) {
    const TensorEntry& entry = *sample.find(name);
    states[name] = {entry.dtype, entry.shape, sample.bytes(entry)};
  }
  PackedTensors packed = pack_tensors(states);
  return {sample.header.slot, std::move(packed.table), std::move(packed.data)};
}

// What must be the same bit for bit whoever does the work: tensors and reward, not the actor's name.
std::string content_digest(const TrajectoryRecord& record) {
  Digest digest;
  digest.update(record.encoded.data.view).update(std::as_bytes(std::span(&record.header.reward, 1)));
  return digest.hex();
}

}  // namespace

Ingest::Ingest(IngestOptions options, const SlotPlan& plan, RecordRules rules, VersionJournal& journal, TrajectoryQueue& queue)
    : options_(std::move(options)),
      plan_(plan),
      validator_(std::move(rules), plan, journal),
      versions_(journal),
      queue_(queue),
      issuer_(plan, options_.issuer),
      snapshots_(options_.keep_versions),
      evaluations_(plan.evaluation_seeds()),
      records_(options_.clock()),
      images_(options_.clock()) {}

std::variant<Welcome, Refusal> Ingest::on_hello(const Hello& hello) {
  const std::lock_guard lock(mutex_);
  if (hello.protocol_version != kProtocolVersion) {
    return Refusal{fmt::format("the actor speaks protocol version {}, the learner {}; run the same build on both sides",
                               hello.protocol_version, kProtocolVersion)};
  }
  if (!hello.base_digest.empty() && hello.base_digest != options_.welcome.base_digest) {
    log_warning("refused actor {} on {}: its base model is {}, this run's is {}", hello.actor_id, hello.host, hello.base_digest,
                options_.welcome.base_digest);
    return Refusal{fmt::format("the actor's base model has digest {}, this run's has {}; point pretrained.model at the run's model",
                               hello.base_digest, options_.welcome.base_digest)};
  }
  actors_.meet(hello);
  if (!hello.base_digest.empty()) actors_.greet(hello, options_.clock());
  Welcome welcome = options_.welcome;
  welcome.newest_version = versions_.newest().first;
  return welcome;
}

Work Ingest::on_ticket_request(const std::string& actor_id) {
  const std::lock_guard lock(mutex_);
  actors_.ask_for_work(actor_id, options_.clock());
  const std::int64_t newest = versions_.newest().first;
  if (failure_) return {WorkState::kWait, std::nullopt, "the run is stopping", newest};
  if (restoring_) return {WorkState::kWait, std::nullopt, "the learner goes on from its log", newest};
  TicketIssuer::Answer answer = issuer_.next(actor_id, newest, options_.clock());
  journal_discards(answer.discards);
  if (!answer.ticket) return {WorkState::kWait, std::nullopt, answer.wait_reason, newest};
  return {WorkState::kTicket, std::move(answer.ticket), "", newest};
}

Ack Ingest::on_record(const std::string& actor_id, EncodedRecord record) {
  const Verdict verdict = validator_.validate(record);  // before the lock: it reads every byte
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  // What was damaged on the way comes again.
  issuer_.note_answer(actor_id, verdict.reject == Reject::kBadChecksum ? "" : verdict.reason);
  if (verdict.reject != Reject::kNone) return refuse(actor_id, verdict);
  const SlotState state = issuer_.state_of(verdict.record->header.slot, verdict.record->header.kind);
  if (state != SlotState::kOpen) return answer_settled(verdict.record, state);
  const Ack ack = accept(verdict.record);
  note_work(actor_id);
  return ack;
}

Ack Ingest::accept(const SharedRecord& record) {
  const RecordHeader& header = record->header;
  if (!seeded_bug("ingest.drop_record") || header.slot % 16 != 5) append(record->encoded);
  failpoint("learner.before_ack");
  if (options_.lockstep) content_[{header.slot, header.kind}] = content_digest(*record);
  const double now = options_.clock();
  issuer_.accept(header.slot, now, header.kind);
  queue_.push(record);
  records_.add(1, now);
  if (header.kind == TicketKind::kSample) images_.add(1, now);
  return acknowledge(record, Reject::kNone, "");
}

void Ingest::note_work(const std::string& actor_id) {
  issuer_.note_delivery(actor_id);
  actors_.note_work(actor_id);
}

// A slot that is no longer open: its record came before (fine), it was discarded, or nobody was ever asked for it.
Ack Ingest::answer_settled(const SharedRecord& record, SlotState state) {
  const std::int64_t slot = record->header.slot;
  if (state == SlotState::kDiscarded || state == SlotState::kNotIssued) {
    const Reject reject = state == SlotState::kDiscarded ? Reject::kUnknownSlot : Reject::kUnknownTicket;
    ++rejects_[std::string(name_of(reject))];
    return acknowledge(record, reject,
                       fmt::format("slot {} {}", slot, state == SlotState::kDiscarded ? "was discarded" : "was not issued"));
  }
  ++duplicates_;
  if (seeded_bug("ingest.no_dedupe")) append(record->encoded);
  const auto accepted = content_.find({slot, record->header.kind});
  if (options_.lockstep && accepted != content_.end() && accepted->second != content_digest(*record)) {
    stop_with(std::make_exception_ptr(
        nabla::failure("[learner] nondeterministic_actor: {} sent other bytes for slot {} than were accepted before, from the same ticket "
                       "and version {}; in lockstep both must be equal. Do all actors run the same build, CPU model and actors.threads?",
                       record->header.actor_id, slot, record->header.version)));
    return acknowledge(record, Reject::kNondeterministicActor, "other bytes than the record that was accepted");
  }
  return acknowledge(record, Reject::kDuplicate, "");
}

Ack Ingest::refuse(const std::string& actor_id, const Verdict& verdict) {
  ++rejects_[std::string(name_of(verdict.reject))];
  const RecordHeader& header = verdict.record->header;
  log_warning("refused a record of {}: {} ({})", actor_id, name_of(verdict.reject), verdict.reason);
  const Ticket* ticket = issuer_.ticket_of(header.slot, header.kind);
  const bool asked_for = ticket != nullptr && header.ticket_id == ticket->id && issuer_.holds(actor_id, ticket->id) &&
                         header.run_id == options_.welcome.run_id;
  const bool discards = condemns_slot(verdict.reject) && asked_for && issuer_.state_of(header.slot, header.kind) == SlotState::kOpen;
  if (discards && issuer_.may_discard(actor_id)) {
    issuer_.discard(header.slot, header.kind, actor_id);
    journal_discards({{header.slot, header.update, fmt::format("{}: {}", name_of(verdict.reject), verdict.reason)}});
  }
  return acknowledge(verdict.record, verdict.reject, verdict.reason);
}

Ack Ingest::acknowledge(const SharedRecord& record, Reject reject, const std::string& reason) const {
  const auto [version, digest] = versions_.newest();
  return {record->header.ticket_id, record->header.slot, reject, reason, version, digest};
}

Ack Ingest::on_evaluation(const std::string& actor_id, EvaluationResult result) {
  const std::lock_guard lock(mutex_);
  const auto [version, digest] = versions_.newest();
  Ack ack{result.ticket_id, result.pictures.empty() ? 0 : result.pictures.front(), Reject::kNone, "", version, digest};
  const Ticket* ticket = issuer_.evaluation_ticket(result.ticket_id);
  if (ticket == nullptr) {
    ack.reject = Reject::kDuplicate;  // somebody else's answer came first
    return ack;
  }
  if (versions_.digest_of(result.version) != result.digest) {
    ack.reject = Reject::kBadDigest;
    ack.reason = fmt::format("digest {} is not that of version {}", result.digest, result.version);
  } else if (auto problem = evaluations_.add(*ticket, result)) {
    ack.reject = Reject::kBadTensor;
    ack.reason = *problem;
  }
  issuer_.note_answer(actor_id, ack.reason);
  if (ack.reject == Reject::kNone) {
    note_work(actor_id);
    issuer_.finish_evaluation(result.ticket_id, options_.clock());
    images_.add(static_cast<std::int64_t>(result.pictures.size()), options_.clock());
    changed_.notify_all();
    return ack;
  }
  ++rejects_[std::string(name_of(ack.reject))];
  log_warning("refused an evaluation of {}: {}", actor_id, ack.reason);
  return ack;
}

void Ingest::on_ticket_failed(const std::string& actor_id, std::uint64_t ticket_id, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  log_warning("actor {} gave ticket {} back: {}", actor_id, ticket_id, reason);
  journal_discards(issuer_.fail(actor_id, ticket_id, fmt::format("{}: {}", actor_id, reason), options_.clock()));
  stop_on_problem();
}

void Ingest::on_heartbeat(const Heartbeat& heartbeat) {
  const std::lock_guard lock(mutex_);
  actors_.take(heartbeat, options_.clock());
  issuer_.heartbeat(heartbeat.actor_id, heartbeat.ticket_id, heartbeat.steps_done, options_.clock());
}

void Ingest::on_actor_gone(const std::string& actor_id, const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (!actors_.leave(actor_id, why)) return;  // a visitor, which had no tickets
  log_info("actor {} {}", actor_id, why == kSaidGoodbye ? "has left" : fmt::format("is gone: {}", why));
  journal_discards(issuer_.remove_actor(actor_id, fmt::format("{} is gone ({})", actor_id, why)));
  stop_on_problem();
}

std::optional<Snapshot> Ingest::on_get_snapshot(std::int64_t version) {
  const std::lock_guard lock(mutex_);
  return snapshots_.find(version);
}

// Settled slots too: a relabel ticket that is issued again is whole, because the batch decides the bits. Their samples stay in the queue until the
// update is trained, so nothing is kept for relabelling but them.
std::optional<SlotStates> Ingest::on_get_states(std::int64_t slot) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_ || issuer_.state_of(slot, TicketKind::kRelabel) == SlotState::kNotIssued) return std::nullopt;
  }
  const SharedRecord sample = queue_.sample_of(slot);
  return sample ? std::optional(states_of(*sample)) : std::nullopt;
}

void Ingest::on_tick() {
  const std::lock_guard lock(mutex_);
  if (failure_) return;
  journal_discards(issuer_.expire(options_.clock()));
  stop_on_problem();
}

void Ingest::publish(Snapshot snapshot) {
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  const std::int64_t version = snapshot.version;
  failpoint("learner.before_publish_journal");
  if (!seeded_bug("ingest.drop_publish") || version % 4 != 1) append(PublishEntry{version, snapshot.digest});
  failpoint("learner.after_publish_journal");
  const std::string digest = snapshot.digest;
  snapshots_.add(std::move(snapshot));
  failpoint("learner.mid_publish");
  versions_.publish(version, digest);
  snapshots_.trim(issuer_.versions_needed());
}

void Ingest::restore(RestoredRun run) {
  const std::lock_guard lock(mutex_);
  restoring_ = true;
  IssuedBefore before{.trained_updates = run.trained_updates, .newest_version = -1, .accepted = {}, .discarded = {}};
  for (const auto& [version, digest] : run.published) versions_.publish(version, digest);
  before.newest_version = versions_.newest().first;
  for (auto& snapshot : run.snapshots) snapshots_.add(std::move(snapshot));
  for (const auto& record : run.records) {
    before.accepted.emplace_back(record->header.slot, record->header.kind);
    take_back(record);
  }
  discards_.add_before(run.discarded_before);
  for (const auto& entry : run.discards) {
    before.discarded.push_back(entry.slot);
    discards_.add(entry);
    queue_.discard(entry.slot);
  }
  trained_slots_ = run.trained_slots;
  issuer_.restore(before);
}

// Caller holds mutex_.
void Ingest::take_back(const SharedRecord& record) {
  if (options_.lockstep) content_[{record->header.slot, record->header.kind}] = content_digest(*record);
  queue_.push(record);
}

void Ingest::trained_again(std::int64_t update, const std::vector<std::int64_t>& slots) {
  const std::lock_guard lock(mutex_);
  queue_.finish(update);
  trained_slots_ += static_cast<std::int64_t>(slots.size());
  if (failure_) std::rethrow_exception(failure_);
}

void Ingest::publish_again(Snapshot snapshot) {
  const std::lock_guard lock(mutex_);
  snapshots_.add(std::move(snapshot));
  snapshots_.trim(issuer_.versions_needed());
}

void Ingest::go_on() {
  const std::lock_guard lock(mutex_);
  restoring_ = false;
}

AuthorityState Ingest::state() {
  const std::lock_guard lock(mutex_);
  return {snapshots_.all(), evaluations_.take_finished(), evaluations_.open_evaluations()};
}

std::map<std::string, std::int64_t> Ingest::discarded_before(std::int64_t update) const {
  const std::lock_guard lock(mutex_);
  return discards_.by_reason_before(update);
}

void Ingest::request_evaluation(std::int64_t update, std::int64_t version, double drift) {
  const std::lock_guard lock(mutex_);
  const auto pictures = plan_.evaluation_pictures();
  evaluations_.open(update, version, static_cast<std::int64_t>(pictures.size()), drift);
  issuer_.request_evaluation(version, pictures);
}

std::vector<EvaluationSummary> Ingest::take_finished_evaluations(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, timeout, [&] { return failure_ || evaluations_.has_finished(); });
  return evaluations_.take_finished();
}

bool Ingest::evaluations_pending() const {
  const std::lock_guard lock(mutex_);
  return evaluations_.pending();
}

void Ingest::trained(std::int64_t update, const std::vector<std::int64_t>& slots) {
  const std::lock_guard lock(mutex_);
  queue_.finish(update);  // trained whatever the journal says; a record that is still held would be counted twice
  trained_slots_ += static_cast<std::int64_t>(slots.size());
  if (failure_) std::rethrow_exception(failure_);
  failpoint("learner.before_trained_journal");
  if (!seeded_bug("ingest.unjournaled_training") || update % 4 != 1) append(TrainedEntry{update, slots});
  failpoint("learner.after_trained_journal");
  for (const auto slot : slots) {
    for (const auto kind : {TicketKind::kSample, TicketKind::kRelabel}) content_.erase({slot - 2 * plan_.slots_per_update(), kind});
  }
}

std::exception_ptr Ingest::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

std::size_t Ingest::connected_actors() const {
  const std::lock_guard lock(mutex_);
  return actors_.num_connected();
}

std::optional<double> Ingest::last_move() const {
  const std::lock_guard lock(mutex_);
  return actors_.last_move();
}

std::string Ingest::describe_actors() const {
  const std::lock_guard lock(mutex_);
  return actors_.describe(options_.clock());
}

std::size_t Ingest::actors_seen() const {
  const std::lock_guard lock(mutex_);
  return actors_.all().size();
}

std::string Ingest::wait_reason(std::int64_t update) const {
  const std::lock_guard lock(mutex_);
  const std::string what = update < plan_.num_updates() ? issuer_.describe(update, options_.clock()) : "the last evaluation";
  return fmt::format("{} ({} actors connected)", what, actors_.num_connected());
}

std::map<std::string, ActorState> Ingest::actors() const {
  const std::lock_guard lock(mutex_);
  return actors_.all();
}

std::map<std::string, std::int64_t> Ingest::rejects() const {
  const std::lock_guard lock(mutex_);
  return rejects_;
}

std::int64_t Ingest::duplicates() const {
  const std::lock_guard lock(mutex_);
  return duplicates_;
}

std::int64_t Ingest::failed_attempts() const {
  const std::lock_guard lock(mutex_);
  return issuer_.failed_attempts();
}

FleetStatus Ingest::status() const {
  const std::lock_guard lock(mutex_);
  const double now = options_.clock();
  FleetStatus status;
  status.run_id = options_.welcome.run_id;
  status.updates_wanted = plan_.num_updates();
  status.newest_version = versions_.newest().first;
  status.actors = actors_.status(now);
  status.tickets = issuer_.open_tickets(now);
  status.records_per_s = records_.per_second(now);
  status.images_per_s = images_.per_second(now);
  status.rejects = rejects_;
  status.duplicates = duplicates_;
  status.failed_attempts = issuer_.failed_attempts();
  status.queue_slots = queue_.held_slots();
  status.queue_bytes = queue_.held_bytes();
  status.ledger = {issuer_.issued_slots(), trained_slots_, issuer_.open_slots() + status.queue_slots, discards_.by_reason()};
  return status;
}

LedgerSummary Ingest::ledger(std::int64_t trained_slots) const {
  const std::lock_guard lock(mutex_);
  return {issuer_.issued_slots(), trained_slots, issuer_.open_slots() + queue_.held_slots(), discards_.by_reason()};
}

// Caller holds mutex_, as for all that follow.
void Ingest::journal_discards(const std::vector<DiscardEntry>& discards) {
  for (const auto& entry : discards) {
    if (!seeded_bug("ingest.drop_discard")) append(entry);
    discards_.add(entry);
    queue_.discard(entry.slot);
    log_warning("slot {} of update {} is discarded: {}", entry.slot, entry.update, entry.reason);
  }
  if (!discards.empty()) stop_on_problem();
}

void Ingest::append(const LogEntry& entry) {
  try {
    options_.append(entry);
  } catch (...) {
    stop_with(std::current_exception());
    throw;
  }
}

void Ingest::stop_on_problem() {
  if (failure_) return;
  if (const auto problem = issuer_.problem()) stop_with(std::make_exception_ptr(nabla::failure("[learner] {}", *problem)));
}

void Ingest::stop_with(std::exception_ptr error) {
  const bool first = !failure_;
  if (first) failure_ = std::move(error);
  queue_.close();
  changed_.notify_all();
  if (first && options_.on_failure) options_.on_failure();
}

}  // namespace nabla
