#pragma once

#include "protocol/curve.h"
#include "protocol/messages.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace nabla {

struct FleetClientOptions {
  std::string control_endpoint;
  // Where the learner is now, asked before a lost connection is opened anew: it may have been started again at another address. Nothing: where it was.
  std::function<std::string()> look_up = {};
  std::string actor_id;
  std::chrono::milliseconds heartbeat_interval{1000};
  int liveness = 3;
  std::size_t max_frame_bytes = std::size_t{64} << 20;
  std::chrono::milliseconds connect_deadline{30'000};
  // How long the learner may stay away (restart) before calls give up with network_error.
  std::chrono::milliseconds reconnect_deadline{60'000};
  std::optional<ActorKeys> keys = {};      // what the learner asks for where it has keys
  std::function<void()> on_run_over = {};  // called once, from whatever thread hears it; must not call this client
  bool heartbeats = true;                  // false: a visitor that asks for weights alone and takes no tickets
};

// The actor's end: keeps the DEALER sockets, sends heartbeats with progress and reconnects (within 4.25 heartbeats of the end of an outage), by a thread
// of its own while no call does it. The calls below block the caller until answered, the deadline passes (network_error naming whom it waited for) or stop is requested
// (failure "stopped"). Not thread safe but for set_progress(). Once the learner has said that the run is over, next_work() says finished, deliveries
// come back as duplicates, and get_snapshot() and get_states() are failures.
class FleetClient {
 public:
  FleetClient(const FleetClientOptions& options, std::stop_token stop);
  ~FleetClient();

  // Hello and welcome; a refusal is thrown with the exit code it carries. Where one side has keys and the other none, or the key is not in the learner's
  // allow-list, network_error says so after 5 s at most.
  Welcome connect(const Hello& hello);
  // Blocks while the learner says "wait"; returns the work or "finished", and with `leave` requested its "wait".
  Work next_work(const std::stop_token& leave = {});
  // Delivers until acknowledged; sends again after a reconnect, and up to 7 times what arrived damaged.
  // ticket_id and slot are those of the record's header; messages name them.
  Ack send_record(const EncodedRecord& record, std::uint64_t ticket_id, std::int64_t slot);
  // Delivers the records of several slots, made one after the other: the next is made while the one before it is on its way. The acks are in the order
  // of the slots.
  std::vector<Ack> send_records(std::uint64_t ticket_id, const std::vector<std::int64_t>& slots,
                                const std::function<EncodedRecord(std::size_t)>& make);
  Ack send_evaluation(const EvaluationResult& result);
  void fail_ticket(std::uint64_t ticket_id, const std::string& reason);
  // Checked against its checksum and its table; asked for again where it arrives damaged. failure if the learner does not hold that version;
  // network_error naming the weights address if nothing comes from there for reconnect_deadline.
  Snapshot get_snapshot(std::int64_t version);
  // The states of a slot of a relabel ticket, checked like a snapshot. failure if the slot is not to be relabelled any more.
  SlotStates get_states(std::int64_t slot);
  // What the next heartbeats say; thread safe.
  void set_progress(const Heartbeat& progress);
  // Says goodbye so that nobody waits for this actor; the destructor does it too.
  void leave();

 private:
  void start_record(const EncodedRecord& record, std::uint64_t ticket_id, std::int64_t slot);
  Ack finish_record(std::uint64_t ticket_id, std::int64_t slot);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nabla
