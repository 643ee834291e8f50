#pragma once

#include "common/crc32c.h"
#include "protocol/fleet_server.h"
#include "tests/protocol/sample_record.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>

namespace nabla {

// A learner that keeps what it hears; tests wait for it instead of sleeping.
class FakeLearner : public FleetHandler {
 public:
  // What a test sets before the server starts, or under with().
  std::string run_id = "run-1", base_digest = "base";
  std::deque<Ticket> tickets;
  std::map<std::int64_t, Snapshot> snapshots;
  std::map<std::int64_t, SlotStates> states;  // by slot
  bool throw_on_record = false;
  std::string weights_endpoint;  // told in welcomes; empty: the server's own
  int damage = 0;                // so many records and snapshots arrive with a flipped bit

  struct Heard {
    std::vector<Hello> hellos;
    std::vector<std::string> gone;  // "actor: why"
    std::vector<std::int64_t> records;
    std::vector<Heartbeat> heartbeats;
    std::vector<EvaluationResult> evaluations;
    std::vector<std::string> ticket_failures;
    int ticket_requests = 0;
  };

  // Blocks until the condition on what was heard holds; false after 10 s.
  template <class Condition>
  bool wait_for(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return condition(heard_); });
  }
  Heard heard() {
    const std::lock_guard lock(mutex_);
    return heard_;
  }
  template <class Change>
  void with(Change change) {
    const std::lock_guard lock(mutex_);
    change(*this);
  }

  std::variant<Welcome, Refusal> on_hello(const Hello& hello) override {
    const std::lock_guard lock(mutex_);
    heard_.hellos.push_back(hello);
    changed_.notify_all();
    if (!hello.base_digest.empty() && hello.base_digest != base_digest) {
      return Refusal{"base model digest '" + hello.base_digest + "' differs from '" + base_digest + "'", 3};
    }
    return Welcome{run_id, "seed: 1\n", base_digest, "table", weights_endpoint, 0};
  }
  Work on_ticket_request(const std::string&) override {
    const std::lock_guard lock(mutex_);
    ++heard_.ticket_requests;
    changed_.notify_all();
    if (tickets.empty()) return Work{WorkState::kWait, std::nullopt, "nothing to do", 0};
    Work work{WorkState::kTicket, tickets.front(), "", 0};
    tickets.pop_front();
    return work;
  }
  Ack on_record(const std::string&, EncodedRecord record) override {
    if (damages_one()) record.data = flipped(record.data);
    const DecodeResult result = decode_record(record, {});
    const std::lock_guard lock(mutex_);
    if (throw_on_record) throw std::runtime_error("disk full");
    if (result.reject != Reject::kNone) return Ack{0, 0, result.reject, result.reason, 0, ""};
    const RecordHeader& header = result.record.header;
    heard_.records.push_back(header.slot);
    changed_.notify_all();
    const bool is_new = slots_.insert(header.slot).second;
    return Ack{header.ticket_id, header.slot, is_new ? Reject::kNone : Reject::kDuplicate, "", 3, "digest-3"};
  }
  Ack on_evaluation(const std::string&, EvaluationResult result) override {
    const std::lock_guard lock(mutex_);
    const Ack ack{result.ticket_id, 0, Reject::kNone, "", 3, "digest-3"};
    heard_.evaluations.push_back(std::move(result));
    changed_.notify_all();
    return ack;
  }
  void on_ticket_failed(const std::string& actor_id, std::uint64_t ticket_id, const std::string& reason) override {
    const std::lock_guard lock(mutex_);
    heard_.ticket_failures.push_back(actor_id + " " + std::to_string(ticket_id) + " " + reason);
    changed_.notify_all();
  }
  void on_heartbeat(const Heartbeat& heartbeat) override {
    const std::lock_guard lock(mutex_);
    heard_.heartbeats.push_back(heartbeat);
    changed_.notify_all();
  }
  void on_actor_gone(const std::string& actor_id, const std::string& why) override {
    const std::lock_guard lock(mutex_);
    heard_.gone.push_back(actor_id + ": " + why);
    changed_.notify_all();
  }
  std::optional<Snapshot> on_get_snapshot(std::int64_t version) override {
    const std::lock_guard lock(mutex_);
    const auto found = snapshots.find(version);
    std::optional<Snapshot> snapshot = found == snapshots.end() ? std::nullopt : std::optional(found->second);
    if (snapshot && damage > 0 && damage-- > 0) snapshot->data_crc32c = ~crc32c(snapshot->data.view);
    return snapshot;
  }
  std::optional<SlotStates> on_get_states(std::int64_t slot) override {
    const std::lock_guard lock(mutex_);
    const auto found = states.find(slot);
    return found == states.end() ? std::nullopt : std::optional(found->second);
  }
  void on_tick() override {}

 private:
  bool damages_one() {
    const std::lock_guard lock(mutex_);
    return damage > 0 && damage-- > 0;
  }
  static Bytes flipped(const Bytes& bytes) {
    std::vector<std::byte> copy = copy_of(bytes);
    copy.at(copy.size() / 2) ^= std::byte{1};
    return own(std::move(copy));
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Heard heard_;                   // guarded by mutex_
  std::set<std::int64_t> slots_;  // guarded by mutex_
};

// A server's counter; 0 for one that nothing was counted under.
inline std::int64_t count_of(const FleetServer& server, const std::string& name) {
  const auto counters = server.counters();
  const auto found = counters.find(name);
  return found == counters.end() ? 0 : found->second;
}

inline Snapshot sample_snapshot(std::int64_t version) {
  const PackedTensors packed = sample_tensors();
  Snapshot snapshot;
  snapshot.version = version;
  snapshot.digest = "digest";
  snapshot.base_digest = "base";
  snapshot.table = packed.table;
  snapshot.data = packed.data;
  return snapshot;
}

inline Ticket sample_ticket(std::uint64_t id) {
  Ticket ticket;
  ticket.id = id;
  ticket.slots = {{7, 1, "a red circle", 5, {3, 49}}};
  return ticket;
}

}  // namespace nabla
