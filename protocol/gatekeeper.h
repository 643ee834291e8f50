#pragma once

#include "protocol/allow_list.h"
#include "protocol/arrival_gate.h"
#include "protocol/connection_guard.h"
#include "protocol/curve.h"
#include "protocol/quarantine.h"
#include "protocol/record.h"
#include "protocol/wire_socket.h"
#include "protocol/zap.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

// Whom a server listens to: those with a key, where there are keys, and nobody who floods it or talks nonsense. Used by the server's thread.
class Gatekeeper {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // data_error if the allow-list cannot be read. The sockets it guards are of `context`, which must outlive it.
  Gatekeeper(const WireContext& context, const std::optional<ServerKeys>& keys, const QuarantineRules& rules);

  // Before a socket is bound.
  void guard(WireSocket& socket) const;
  // After both are: their connections are watched. They must outlive this.
  void watch(const WireContext& context, const WireSocket& control, const WireSocket& weights, std::size_t max_frame_bytes);

  // What to wait for beside the sockets, and how long at most between two rounds.
  std::vector<void*> handles() const;
  std::chrono::milliseconds interval() const { return guard_->interval(); }
  struct Round {
    std::int64_t keys_refused = 0, flooding_connections = 0, storms = 0;
    bool keys_changed = false;  // some that were allowed may be so no more
  };
  // Answers handshakes, looks at the keys when that is due, and ends connections that flood.
  Round make_round(Time now);

  // A message has come; true: it is to be looked at as far as keys go.
  bool lets_in(const WireMessage& message);
  // It was not looked at all the same, for its sender is turned away.
  void note_unheard(const WireMessage& message) { guard_->note_unheard(message.descriptor); }
  bool allows(const std::string& key) const { return !allowed_ || allowed_->name_of(key).has_value(); }

  // Where a message comes from. Faults are charged to all that is known of it: to the actor under its key, so that it does not start anew by connecting
  // again; to the connection, so that it does not by another id; and to the key, whose budget is larger, so that it does not by both.
  struct Source {
    std::string connection;  // empty: not known
    std::string key;         // empty without keys
    std::string actor;       // empty before a hello, and on the weights socket
  };
  enum class Verdict { kHeard, kPeerTurnedAway, kKeyTurnedAway };
  // Notes a fault; whether somebody is turned away from now on.
  Verdict charge(const Source& source, Quarantine::Fault fault);
  // Notes one of the connection alone.
  void charge_connection(const std::string& connection) { charge({connection, "", ""}, Quarantine::Fault::kContent); }
  // Whether messages from there are looked at.
  Verdict judge(const Source& source) const;
  // The sentence for one that is turned away; empty for others.
  std::string reason_of(const Source& source) const;

 private:
  using Clock = std::chrono::steady_clock;

  std::optional<ServerKeys> keys_;
  std::unique_ptr<AllowList> allowed_;  // null without keys, as the next
  std::unique_ptr<ZapHandler> zap_;
  std::unique_ptr<ConnectionGuard> guard_;
  ArrivalGate door_{ArrivalLimits{}};
  std::vector<std::unique_ptr<ArrivalWatch>> arrivals_;
  double share_of_key_;
  Quarantine quarantine_;
  Time look_at_;
  bool end_connections_ = false;  // of revoked keys, once their refusals are on their way
};

// Whether a refusal is the sender's fault: no honest actor makes such a record, whatever happens on the way or to its ticket.
bool is_senders_fault(Reject reject);

}  // namespace nabla
