#include "protocol/learner_answer.h"

#include "common/crc32c.h"

#include <string_view>

namespace nabla {

bool is_damaged(const WireMessage& message) {
  return crc32c(message.body.view) != message.body_crc32c || crc32c(message.data.view) != message.data_crc32c;
}

std::string reachable(std::string weights, const std::string& control) {
  for (const std::string_view any : {"tcp://0.0.0.0:", "tcp://*:"}) {
    if (!weights.starts_with(any) || !control.starts_with("tcp://")) continue;
    return control.substr(0, control.rfind(':') + 1) + weights.substr(any.size());
  }
  return weights;
}

std::string handshake_fault_of(HandshakeWatch::Outcome outcome, const FleetClientOptions& options, const std::string& at) {
  const std::string fingerprint = options.keys ? fingerprint_of(options.keys->pair.public_key) : "";
  if (outcome == HandshakeWatch::Outcome::kKeyRefused) {
    return fmt::format(
        "the learner at {} does not let the key {}... in: it is not in its allow-list, or was revoked; `nabla keys list` on the "
        "learner's machine tells",
        at, fingerprint);
  }
  if (!options.keys) {
    return fmt::format(
        "what listens at {} refused a connection without a key: it is a learner with keys (security.keys), and this actor needs one "
        "(`nabla keys new --dir KEYS actor NAME` there, --key NAME.key here), or it is no learner",
        at);
  }
  if (outcome == HandshakeWatch::Outcome::kOtherMechanism) {
    return fmt::format(
        "what listens at {} refused a connection with a key: it is a learner without keys (leave out --key, or set security.keys "
        "there), or it is no learner",
        at);
  }
  // Where mechanisms differ, either side may be the first to end the connection.
  return fmt::format(
      "what listens at {} broke the handshake off: it is a learner without keys (leave out --key, or set security.keys there), its server "
      "key is not the one in this actor's key file (carry NAME.key anew), or it is no learner",
      at);
}

}  // namespace nabla
