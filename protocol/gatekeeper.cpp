#include "protocol/gatekeeper.h"

#include "common/log.h"

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

}  // namespace

Gatekeeper::Gatekeeper(const WireContext& context, const std::optional<ServerKeys>& keys, const QuarantineRules& rules)
    : keys_(keys), quarantine_(rules) {
  if (!keys_) return;
  allowed_ = std::make_unique<AllowList>(keys_->allow_list);
  zap_ = std::make_unique<ZapHandler>(context);
}

void Gatekeeper::guard(WireSocket& socket) const {
  if (keys_) socket.require_keys(keys_->pair);
}

void Gatekeeper::watch(const std::string& control_endpoint, const std::string& weights_endpoint, std::size_t max_frame_bytes) {
  // An honest actor has two messages under way at most.
  guard_ = std::make_unique<ConnectionGuard>(std::vector{port_of(control_endpoint), port_of(weights_endpoint)}, keys_.has_value(),
                                             ConnectionLimits{.message_bytes = 3 * std::uint64_t{max_frame_bytes}});
}

Gatekeeper::Round Gatekeeper::make_round(Time now) {
  Round round;
  if (zap_) round.keys_refused = zap_->answer_all(*allowed_).refused;
  round.flooding_connections = static_cast<std::int64_t>(guard_->watch(now));
  if (!allowed_ || now < look_at_) return round;
  look_at_ = now + kLookAtKeysEvery;
  if (end_connections_) guard_->end_others([this](const std::string& key) { return allows(key); });
  end_connections_ = round.keys_changed = allowed_->refresh();
  if (round.keys_changed) log_info("the allow-list changed: {} keys may connect", allowed_->size());
  return round;
}

bool Gatekeeper::lets_in(const WireMessage& message) {
  guard_->note(message.descriptor, message.peer, message.key);
  return allows(message.key);
}

std::string Gatekeeper::turned_away(const std::string& peer) const {
  const auto left = quarantine_.left(peer, Clock::now());
  if (left.count() == 0) return "";
  return fmt::format("too many messages of this peer were malformed or refused for their content; it is turned away for another {} s",
                     left.count());
}

}  // namespace nabla
