#include "tests/chaos/fault_schedule.h"

#include <algorithm>

namespace nabla::chaos {

FaultSchedule::FaultSchedule(const ProcessFaults& faults, std::uint64_t seed) : random_(seed), pause_(1.0 / faults.mean_pause_s) {
  const auto add = [this](ProcessFault fault, int count) { coming_.insert(coming_.end(), static_cast<std::size_t>(count), fault); };
  add(ProcessFault::kKillActor, faults.actor_kills);
  add(ProcessFault::kKillLearner, faults.learner_kills);
  add(ProcessFault::kStopActor, faults.actor_stops);
  add(ProcessFault::kStopLearner, faults.learner_stops);
  std::shuffle(coming_.begin(), coming_.end(), random_);
}

std::optional<ProcessFault> FaultSchedule::due(double now_s) {
  if (next_at_s_ < 0) next_at_s_ = now_s + pause_(random_);
  if (coming_.empty() || now_s < next_at_s_) return std::nullopt;
  return coming_.back();
}

void FaultSchedule::take(double now_s) {
  coming_.pop_back();
  next_at_s_ = now_s + pause_(random_);
}

std::size_t FaultSchedule::pick(std::size_t count) { return static_cast<std::size_t>(random_() % count); }

}  // namespace nabla::chaos
