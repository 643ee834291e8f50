#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace nabla::chaos {

struct FakeActorOptions {
  std::string connect;  // control endpoint of the learner
  std::string id;
  std::string acks;  // file
  std::chrono::milliseconds heartbeat{100};
  bool lies = false;  // stamps a digest that no weights have on every seventh record
};

// Serves tickets until the run is over, as `nabla actor` does, with random numbers for a network. It notes each acknowledgement in its file.
void run_fake_actor(const FakeActorOptions& options);

}  // namespace nabla::chaos
