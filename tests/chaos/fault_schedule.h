#pragma once

#include "tests/chaos/scenario.h"

#include <cstddef>
#include <optional>
#include <random>
#include <vector>

namespace nabla::chaos {

enum class ProcessFault { kKillActor, kKillLearner, kStopActor, kStopLearner };

// The faults of a scenario in an order and at times that the seed decides: exponentially distributed pauses, the first from the first look on.
class FaultSchedule {
 public:
  FaultSchedule(const ProcessFaults& faults, std::uint64_t seed);
  // The next fault if its time has come. It stays the next one until it is taken: there may be nobody to have it.
  std::optional<ProcessFault> due(double now_s);
  void take(double now_s);
  // When the next one is due.
  double next_at_s() const { return next_at_s_; }
  // Any of `count`.
  std::size_t pick(std::size_t count);
  // Faults that are still to come.
  std::size_t size() const { return coming_.size(); }

 private:
  std::mt19937_64 random_;
  std::exponential_distribution<> pause_;
  std::vector<ProcessFault> coming_;  // the last one is the next
  double next_at_s_ = -1;
};

}  // namespace nabla::chaos
