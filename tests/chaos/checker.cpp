#include "tests/chaos/checker.h"

#include "common/error.h"
#include "protocol/trajectory_log.h"
#include "tests/chaos/acks.h"
#include "tests/chaos/fake_learner.h"
#include "tests/chaos/fake_record.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>

namespace nabla::chaos {

namespace {

constexpr std::size_t kMaxFindingsOfAKind = 5;

// What the log says of one slot's record.
struct Logged {
  std::string actor_id;
  std::int64_t nonce = 0;
  TrajectoryRecord record;
};

class Checker {
 public:
  Checker(const std::string& run_dir, const Shape& shape, RunEnd end)
      : run_dir_(run_dir), shape_(shape), end_(end), plan_(plan_of(shape)), rules_(rules_of(shape)), weights_(first_weights(shape)) {}

  CheckResult run() {
    read_log();
    check_acks();
    check_slots();
    check_cursor();
    fill_ledger();
    return std::move(result_);
  }

 private:
  template <class... Args>
  void find(const std::string& kind, fmt::format_string<Args...> format, Args&&... args) {
    if (++found_[kind] <= kMaxFindingsOfAKind) result_.findings.push_back({kind, fmt::format(format, std::forward<Args>(args)...)});
  }

  void read_log() {
    try {
      TrajectoryLogReader reader(run_dir_ + "/log");
      while (const auto entry = reader.next()) std::visit([this](const auto& content) { take(content); }, *entry);
    } catch (const Error& error) {
      find("log_damaged", "{}", error.what());
    }
  }

  void take(const LogHeader& header) {
    if (header.run_id != kRunId) find("log_damaged", "the log is of run '{}'", header.run_id);
  }

  void take(const EncodedRecord& encoded) {
    const DecodeResult decoded = decode_record(encoded, {});
    if (decoded.reject != Reject::kNone) return find("wrong_content", "a record in the log is refused: {}", decoded.reason);
    const RecordHeader& header = decoded.record.header;
    ++result_.logged;
    const bool is_new = logged_.emplace(header.slot, Logged{header.actor_id, nonce_of(header), decoded.record}).second;
    if (!is_new) find("logged_twice", "slot {} stands in the log twice", header.slot);
    check_record(header, encoded);
  }

  // Its weights were published before it; it is what those weights give, bit for bit.
  void check_record(const RecordHeader& header, const EncodedRecord& encoded) {
    const auto published = published_.find(header.version);
    if (published == published_.end())
      return find("unpublished_version", "slot {} was sampled with version {}, which no journal entry before it names", header.slot,
                  header.version);
    if (published->second != header.digest)
      find("wrong_digest", "slot {} carries another digest than its version {}", header.slot, header.version);
    const VersionRule rule = plan_.version_rule(header.update);
    if (rule.exact ? header.version != rule.version : header.version < rule.version)
      find("policy_lag", "slot {} of update {} was sampled with version {}; its ticket asked for {}{}", header.slot, header.update,
           header.version, rule.exact ? "exactly " : "at least ", rule.version);
    const PackedTensors expected = fake_tensors(shape_, rules_, plan_.rows(), header.slot, published->second);
    if (!std::ranges::equal(expected.data.view, encoded.data.view))
      find("wrong_content", "slot {} is not what version {} gives", header.slot, header.version);
  }

  void take(const PublishEntry& entry) {
    ++result_.published;
    result_.final_digest = entry.digest;
    if (!published_.emplace(entry.version, entry.digest).second) find("published_twice", "version {} was journaled twice", entry.version);
    // Version v is made of the updates before it: the fake weights are computed again from the log.
    if (entry.version == next_update_ && entry.digest != digest_of_weights(weights_))
      find("weights_diverged", "version {} was published with digest {}, the log gives {}", entry.version, entry.digest,
           digest_of_weights(weights_));
    if (entry.version != next_update_)
      find("weights_diverged", "version {} was published when {} updates were trained", entry.version, next_update_);
  }

  void take(const DiscardEntry& entry) {
    if (!discarded_.insert(entry.slot).second) find("discarded_twice", "slot {} was discarded twice", entry.slot);
  }

  void take(const TrainedEntry& entry) {
    if (entry.update != next_update_) find("update_order", "update {} was trained where {} was expected", entry.update, next_update_);
    next_update_ = entry.update + 1;
    std::vector<TrainedRecord> records;
    for (const std::int64_t slot : entry.slots) {
      if (!trained_.insert(slot).second) find("trained_twice", "slot {} was trained twice", slot);
      if (plan_.update_of(slot) != entry.update) find("update_order", "slot {} was trained in update {}", slot, entry.update);
      const auto logged = logged_.find(slot);
      if (logged == logged_.end()) {
        find("trained_unlogged", "slot {} was trained, and no record of it stands in the log before", slot);
        continue;
      }
      records.push_back(trained_record(logged->second.record));
    }
    weights_ = next_weights(weights_, records);
  }

  void check_acks() {
    if (!std::filesystem::exists(run_dir_ + "/acks")) return;
    for (const AckLine& ack : read_acks(run_dir_ + "/acks")) {
      ++(ack.first ? result_.acked : result_.duplicates);
      const auto logged = logged_.find(ack.slot);
      const bool is_there =
          logged != logged_.end() && (!ack.first || (logged->second.actor_id == ack.actor_id && logged->second.nonce == ack.nonce));
      if (!is_there && !(discarded_.contains(ack.slot) && !ack.first))
        find("acked_missing", "slot {} (record {} of {}) was acknowledged and is not in the log", ack.slot, ack.nonce, ack.actor_id);
    }
  }

  // Every slot of an update that was trained is trained or discarded, and not both.
  void check_slots() {
    const std::int64_t updates = end_ == RunEnd::kFinished ? plan_.num_updates() : next_update_;
    for (std::int64_t slot = 0; slot < updates * plan_.slots_per_update(); ++slot) {
      const bool trained = trained_.contains(slot), discarded = discarded_.contains(slot);
      if (!trained && !discarded) find("lost_slot", "slot {} of update {} was neither trained nor discarded", slot, plan_.update_of(slot));
      if (trained && discarded) find("repeated_slot", "slot {} was trained and discarded", slot);
    }
  }

  // The checkpoint may be behind the journal, never ahead of it.
  void check_cursor() {
    const Checkpoint checkpoint = read_checkpoint(run_dir_, shape_);
    cursor_ = checkpoint.next_update;
    if (cursor_ > next_update_) find("cursor_ahead", "the checkpoint says {} updates, the log {}", cursor_, next_update_);
    if (end_ == RunEnd::kFinished && cursor_ != plan_.num_updates())
      find("cursor_ahead", "the run is finished and its checkpoint says {} of {} updates", cursor_, plan_.num_updates());
    const auto published = published_.find(cursor_);
    if (published != published_.end() && published->second != digest_of_weights(checkpoint.weights))
      find("weights_diverged", "the checkpoint of version {} holds other weights than were published", cursor_);
  }

  void fill_ledger() {
    OfflineLedger& ledger = result_.ledger;
    if (end_ == RunEnd::kFinished) {
      ledger.issued = plan_.num_slots();
      ledger.trained = cursor_ * plan_.slots_per_update() - count_below(discarded_, cursor_ * plan_.slots_per_update());
    } else {
      ledger.issued = next_update_ * plan_.slots_per_update();
      for (const auto* slots : {&trained_, &discarded_})
        if (!slots->empty()) ledger.issued = std::max(ledger.issued, *slots->rbegin() + 1);
      if (!logged_.empty()) ledger.issued = std::max(ledger.issued, logged_.rbegin()->first + 1);
      ledger.trained = static_cast<std::int64_t>(trained_.size());
      for (std::int64_t slot = 0; slot < ledger.issued; ++slot)
        ledger.outstanding += trained_.contains(slot) || discarded_.contains(slot) ? 0 : 1;
    }
    ledger.discarded = static_cast<std::int64_t>(discarded_.size());
    if (ledger.trained != static_cast<std::int64_t>(trained_.size()))
      find("ledger_open", "the checkpoint stands for {} trained slots, the log's journal names {}", ledger.trained, trained_.size());
    if (ledger.residual() != 0)
      find("ledger_open", "issued {} is not trained {} + discarded {} + outstanding {}", ledger.issued, ledger.trained, ledger.discarded,
           ledger.outstanding);
  }

  static std::int64_t count_below(const std::set<std::int64_t>& slots, std::int64_t end) {
    return std::distance(slots.begin(), slots.lower_bound(end));
  }

  const std::string run_dir_;
  const Shape shape_;
  const RunEnd end_;
  const SlotPlan plan_;
  const RecordRules rules_;
  std::string weights_;
  std::int64_t next_update_ = 0, cursor_ = 0;
  std::map<std::int64_t, Logged> logged_;          // by slot
  std::map<std::int64_t, std::string> published_;  // digests by version
  std::set<std::int64_t> discarded_, trained_;     // slots
  std::map<std::string, std::size_t> found_;
  CheckResult result_;
};

}  // namespace

bool CheckResult::found(const std::string& kind) const {
  return std::ranges::any_of(findings, [&](const Finding& finding) { return finding.kind == kind; });
}

CheckResult check_run(const std::string& run_dir, const Shape& shape, RunEnd end) { return Checker(run_dir, shape, end).run(); }

}  // namespace nabla::chaos
