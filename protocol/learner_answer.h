#pragma once

#include "common/error.h"
#include "protocol/fleet_client.h"
#include "protocol/wire_message.h"

#include <string>

namespace nabla {

// How often what was damaged on the way is sent or asked for again.
inline constexpr int kMaxDamaged = 8;
bool is_damaged(const WireMessage& message);

// Reads an answer; network_error if it is damaged or not what was asked for.
template <class Message>
Message content_of(const WireMessage& answer, MessageType type, const std::string& what, const CodecLimits& limits = {}) {
  if (is_damaged(answer))
    throw network_error("[actor] the learner's answer with {} arrived damaged {} times: its CRC32C does not fit", what, kMaxDamaged);
  if (answer.type != type)
    throw network_error("[actor] the learner answered with message type {} while this actor waited for {}", static_cast<int>(answer.type),
                        what);
  Message content;
  const DecodeStatus status = decode(answer.body.view, content, limits);
  if (!status.ok) throw network_error("[actor] the learner's answer to {} {}", what, status.reason);
  return content;
}

// A weights address that names every interface is reached at the control address's host.
std::string reachable(std::string weights, const std::string& control);

// Why a handshake failed and what to do about it.
std::string handshake_fault_of(HandshakeWatch::Outcome outcome, const FleetClientOptions& options, const std::string& at);

}  // namespace nabla
