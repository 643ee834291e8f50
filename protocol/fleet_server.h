#pragma once

#include "protocol/curve.h"
#include "protocol/messages.h"
#include "protocol/quarantine.h"

#include <chrono>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>

namespace nabla {

inline constexpr const char* kSaidGoodbye = "said goodbye";

// What the learner answers. All calls come from the server's one thread; they must not block for long. Nothing thrown here ends the loop of the
// server: an exception is kept and given to the owner by FleetServer::failure().
class FleetHandler {
 public:
  virtual ~FleetHandler() = default;
  virtual std::variant<Welcome, Refusal> on_hello(const Hello& hello) = 0;
  virtual Work on_ticket_request(const std::string& actor_id) = 0;
  // Validates and appends to the log before it returns: the ack is sent from the return value.
  virtual Ack on_record(const std::string& actor_id, EncodedRecord record) = 0;
  virtual Ack on_evaluation(const std::string& actor_id, EvaluationResult result) = 0;
  // A ticket that the actor gives back with the reason it failed (bad weights, reward failure, ...).
  virtual void on_ticket_failed(const std::string& actor_id, std::uint64_t ticket_id, const std::string& reason) = 0;
  virtual void on_heartbeat(const Heartbeat& heartbeat) = 0;
  // The actor left (`why` is kSaidGoodbye) or was not heard of for 3 heartbeats.
  virtual void on_actor_gone(const std::string& actor_id, const std::string& why) = 0;
  // The snapshot of a version; nothing if it is not (or no longer) held.
  virtual std::optional<Snapshot> on_get_snapshot(std::int64_t version) = 0;
  // The states of a slot that is to be relabelled; nothing if it is not, or no longer.
  virtual std::optional<SlotStates> on_get_states(std::int64_t slot) = 0;
  // Called about every 100 ms for timeouts.
  virtual void on_tick() = 0;
};

struct FleetServerOptions {
  std::string control_address = "tcp://127.0.0.1:*";  // ipc:// or tcp://; '*' picks a port
  std::string weights_address = "tcp://127.0.0.1:*";
  std::chrono::milliseconds heartbeat_interval{1000};
  int liveness = 3;
  std::size_t max_frame_bytes = std::size_t{64} << 20;
  // With keys every connection is encrypted, and only those of the allow-list have one; it is looked at again every quarter of a second, and whose key is
  // no longer in it is turned out.
  std::optional<ServerKeys> keys = {};
  bool insecure = false;  // without keys: listen on addresses that other machines can reach all the same
  QuarantineRules quarantine = {};
};

// Owns the two ROUTER sockets (control and weights) and the thread that serves them.
class FleetServer {
 public:
  // Binds; network_error (exit 4) naming the address when it is in use or cannot be bound; usage_error for an address that is open to other machines
  // without keys; data_error if the allow-list cannot be read.
  FleetServer(const FleetServerOptions& options, FleetHandler& handler);
  ~FleetServer();  // stops and joins; actors are told that the run is over if finish() was called
  void start();
  // From now on every ticket request is answered "finished".
  void finish();
  const std::string& control_endpoint() const;
  const std::string& weights_endpoint() const;
  // Messages counted by name: "records", "acks", "rejected_<reason>", "malformed", "quarantined" (peers that were turned away for their nonsense),
  // "flooding_connections" (ended for bytes that came to no message), "keys_refused" (connections), "keys_revoked" (actors that were turned out),
  // "bytes_in", ...; "actor.<id>.records", "actor.<id>.rejected" and "actor.<id>.malformed" of each actor. Thread safe, like finish() and failure().
  std::map<std::string, std::int64_t> counters() const;
  // The first exception a handler threw, if any.
  std::exception_ptr failure() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nabla
