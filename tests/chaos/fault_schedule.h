#pragma once

#include "tests/chaos/scenario.h"

#include <cstddef>
#include <optional>
#include <random>
#include <vector>

namespace nabla::chaos {

enum class ProcessFault { kKillActor, kKillLearner, kStopActor, kStopLearner };

// The faults of a scenario in an order and at times that the seed decides: exponentially distributed pauses.
class FaultSchedule {
 public:
  FaultSchedule(const ProcessFaults& faults, std::uint64_t seed);
  // The next fault if its time has come; each is given once.
  std::optional<ProcessFault> due(double now_s);
  // Any of `count`.
  std::size_t pick(std::size_t count);
  // Faults that are still to come.
  std::size_t size() const { return coming_.size(); }

 private:
  std::mt19937_64 random_;
  std::exponential_distribution<> pause_;
  std::vector<ProcessFault> coming_;  // the last one is the next
  double next_at_s_;
};

}  // namespace nabla::chaos
