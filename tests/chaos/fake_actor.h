#pragma once

#include "protocol/messages.h"

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>

namespace nabla::chaos {

struct FakeActorOptions {
  std::string connect;  // control endpoint of the learner
  std::string id;
  std::string acks;  // file
  std::chrono::milliseconds heartbeat{100};
  bool lies = false;  // stamps a digest that no weights have on every seventh record
  std::uint32_t protocol_version = kProtocolVersion;
};

// Serves tickets until the run is over, as `nabla actor` does, with random numbers for a network; asked to leave, until its ticket is
// done. It notes each acknowledgement in its file.
void run_fake_actor(const FakeActorOptions& options, const std::stop_token& leave);

}  // namespace nabla::chaos
