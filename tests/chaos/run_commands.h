#pragma once

#include "launch/child_process.h"
#include "tests/chaos/chaos_run.h"
#include "tests/chaos/faulty_link.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace nabla::chaos {

struct RunPorts {
  std::uint16_t control = 0, weights = 0;
};

enum class Pace { kFree, kHeld };

// The commands of a run's processes. `start`: how many of that learner, or in the place of that actor, there were before.
ChildCommand learner_command(const Scenario& scenario, const ChaosOptions& options, const FaultyLink& link, const RunPorts& ports,
                             Pace pace, std::int64_t start);
ChildCommand actor_command(const Scenario& scenario, const ChaosOptions& options, const FaultyLink& link, std::size_t number,
                           std::int64_t start);
// Where an actor notes its acknowledgements.
std::string acks_path(const ChaosOptions& options, std::size_t number, std::int64_t start);

}  // namespace nabla::chaos
