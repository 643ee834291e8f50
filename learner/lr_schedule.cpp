#include "learner/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nabla {

double lr_factor(const TrainingConfig& training, std::int64_t update) {
  const std::int64_t warmup = training.lr_warmup_steps;
  if (update < warmup) return static_cast<double>(update) / static_cast<double>(warmup);
  if (training.lr_scheduler == "constant") return 1.0;
  const auto length = static_cast<double>(std::max<std::int64_t>(1, training.updates - warmup));
  const double progress = static_cast<double>(update - warmup) / length;
  if (training.lr_scheduler == "linear") return std::max(0.0, 1.0 - progress);
  return std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
}

}  // namespace nabla
