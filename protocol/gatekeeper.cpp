#include "protocol/gatekeeper.h"

#include "common/log.h"

#include <algorithm>
#include <charconv>

namespace nabla {

namespace {

constexpr std::chrono::milliseconds kLookAtKeysEvery{250};

// 0 for ipc.
std::uint16_t port_of(const std::string& endpoint) {
  std::uint16_t port = 0;
  if (endpoint.starts_with("tcp://")) std::from_chars(endpoint.data() + endpoint.rfind(':') + 1, endpoint.data() + endpoint.size(), port);
  return port;
}

// Names of the quarantine's.
std::string connection_name(const Gatekeeper::Source& source) { return "connection " + source.connection; }

std::string key_name(const Gatekeeper::Source& source) { return "key " + source.key; }

std::string actor_name(const Gatekeeper::Source& source) { return "actor " + source.key + "/" + source.actor; }

}  // namespace

Gatekeeper::Gatekeeper(const WireContext& context, const std::optional<ServerKeys>& keys, const QuarantineRules& rules)
    : keys_(keys), share_of_key_(rules.share_of_key), quarantine_(rules) {
  if (!keys_) return;
  allowed_ = std::make_unique<AllowList>(keys_->allow_list);
  zap_ = std::make_unique<ZapHandler>(context);
}

void Gatekeeper::guard(WireSocket& socket) const {
  if (keys_) socket.require_keys(keys_->pair);
}

void Gatekeeper::watch(const WireContext& context, const WireSocket& control, const WireSocket& weights, std::size_t max_frame_bytes) {
  // An honest actor has two messages under way at most.
  guard_ = std::make_unique<ConnectionGuard>(std::vector{port_of(control.endpoint()), port_of(weights.endpoint())}, keys_.has_value(),
                                             ConnectionLimits{.message_bytes = 3 * std::uint64_t{max_frame_bytes}});
  for (const int listener : guard_->listeners()) door_.guard(listener);
  for (const WireSocket* socket : {&control, &weights}) arrivals_.push_back(std::make_unique<ArrivalWatch>(context, socket->handle()));
}

std::vector<void*> Gatekeeper::handles() const {
  std::vector<void*> all;
  if (zap_) all.push_back(zap_->handle());
  for (const auto& watch : arrivals_) all.push_back(watch->handle());
  return all;
}

Gatekeeper::Round Gatekeeper::make_round(Time now) {
  Round round;
  if (zap_) round.keys_refused = zap_->answer_all(*allowed_).refused;
  for (const auto& watch : arrivals_) {
    const std::vector<int> arrived = watch->take();
    for (const int descriptor : arrived) guard_->note_arrival(descriptor, now);
    round.storms += door_.note_arrivals(arrived.size(), now) ? 1 : 0;
  }
  door_.make_round(now);
  if (round.storms > 0) log_warning("too many connections arrive: for a while none is taken from machines that no actor works on");
  round.flooding_connections = static_cast<std::int64_t>(guard_->watch(now));
  if (!allowed_ || now < look_at_) return round;
  look_at_ = now + kLookAtKeysEvery;
  if (end_connections_) guard_->end_revoked([this](const std::string& key) { return allows(key); });
  end_connections_ = round.keys_changed = allowed_->refresh();
  if (round.keys_changed) log_info("the allow-list changed: {} keys may connect", allowed_->size());
  return round;
}

bool Gatekeeper::lets_in(const WireMessage& message) {
  const std::string* address = guard_->note(message.descriptor, message.peer, message.key);
  if (address != nullptr && allows(message.key)) door_.note_friend(*address);
  if (allows(message.key)) return true;
  // One that had said nothing before its key went; others end when their refusals are on their way.
  if (!end_connections_) ConnectionGuard::end_connection(message.descriptor);
  return false;
}

Gatekeeper::Verdict Gatekeeper::charge(const Source& source, Quarantine::Fault fault) {
  const Time now = Clock::now();
  bool peer = false;
  if (!source.connection.empty()) peer = quarantine_.charge(connection_name(source), fault, now);
  if (!source.actor.empty()) peer = quarantine_.charge(actor_name(source), fault, now) || peer;
  if (!source.key.empty() && quarantine_.charge(key_name(source), fault, now, share_of_key_)) return Verdict::kKeyTurnedAway;
  return peer ? Verdict::kPeerTurnedAway : Verdict::kHeard;
}

Gatekeeper::Verdict Gatekeeper::judge(const Source& source) const {
  if (quarantine_.empty()) return Verdict::kHeard;
  const Time now = Clock::now();
  if (!source.connection.empty() && quarantine_.left(connection_name(source), now).count() > 0) return Verdict::kPeerTurnedAway;
  if (!source.actor.empty() && quarantine_.left(actor_name(source), now).count() > 0) return Verdict::kPeerTurnedAway;
  if (!source.key.empty() && quarantine_.left(key_name(source), now).count() > 0) return Verdict::kKeyTurnedAway;
  return Verdict::kHeard;
}

std::string Gatekeeper::reason_of(const Source& source) const {
  const Time now = Clock::now();
  const auto peer = std::max(source.connection.empty() ? std::chrono::seconds(0) : quarantine_.left(connection_name(source), now),
                             source.actor.empty() ? std::chrono::seconds(0) : quarantine_.left(actor_name(source), now));
  if (peer.count() > 0) {
    return fmt::format("too many messages of this peer were malformed or refused for their content; it is turned away for another {} s",
                       peer.count());
  }
  const auto key = source.key.empty() ? std::chrono::seconds(0) : quarantine_.left(key_name(source), now);
  if (key.count() == 0) return "";
  return fmt::format(
      "too many messages under the key {}... were malformed or refused for their content, whoever of its holders sent them; all of them "
      "are turned away for another {} s",
      fingerprint_of(source.key), key.count());
}

bool is_senders_fault(Reject reject) {
  switch (reject) {
    case Reject::kTooLarge:
    case Reject::kBadHeader:
    case Reject::kVersionMismatch:
    case Reject::kUnknownRun:
    case Reject::kBadTensor:
    case Reject::kBadDigest:
    case Reject::kNonFinite:
    case Reject::kBadTransitions:
      return true;
    default:
      return false;
  }
}

}  // namespace nabla
