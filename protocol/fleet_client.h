#pragma once

#include "protocol/messages.h"

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>

namespace nabla {

struct FleetClientOptions {
  std::string control_endpoint;
  std::string actor_id;
  std::chrono::milliseconds heartbeat_interval{1000};
  int liveness = 3;
  std::size_t max_frame_bytes = std::size_t{64} << 20;
  std::chrono::milliseconds connect_deadline{30'000};
  // How long the learner may stay away (restart) before calls give up with network_error.
  std::chrono::milliseconds reconnect_deadline{60'000};
};

// The actor's end: one thread of its own owns the DEALER sockets, sends heartbeats with progress and reconnects (back-off 1 to 32 heartbeats with
// jitter); the calls below block the caller until answered, the deadline passes (network_error naming whom it waited for) or stop is requested
// (failure "stopped"). Not thread safe but for set_progress(). Once the learner has said that the run is over, next_work() says finished, deliveries
// come back as duplicates and get_snapshot() is a failure.
class FleetClient {
 public:
  FleetClient(const FleetClientOptions& options, std::stop_token stop);
  ~FleetClient();

  // Hello and welcome; a refusal is thrown with the exit code it carries.
  Welcome connect(const Hello& hello);
  // Blocks while the learner says "wait"; returns the work or "finished".
  Work next_work();
  // Delivers until acknowledged; sends again after a reconnect.
  // ticket_id and slot are those of the record's header; messages name them.
  Ack send_record(const EncodedRecord& record, std::uint64_t ticket_id, std::int64_t slot);
  Ack send_evaluation(const EvaluationResult& result);
  void fail_ticket(std::uint64_t ticket_id, const std::string& reason);
  // Checked against its checksum and its table. failure if the learner does not hold that version.
  Snapshot get_snapshot(std::int64_t version);
  // What the next heartbeats say; thread safe.
  void set_progress(const Heartbeat& progress);
  // Says goodbye so that nobody waits for this actor; the destructor does it too.
  void leave();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nabla
