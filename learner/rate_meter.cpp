#include "learner/rate_meter.h"

#include <algorithm>

namespace nabla {

void RateMeter::add(std::int64_t count, double now) {
  const auto number = static_cast<std::int64_t>(now - start_);
  Second& second = seconds_[static_cast<std::size_t>(number % kSeconds)];
  if (second.number != number) second = {number, 0};
  second.count += count;
}

double RateMeter::per_second(double now) const {
  const double age = now - start_;
  const auto oldest = static_cast<std::int64_t>(age) - kSeconds;
  std::int64_t count = 0;
  for (const Second& second : seconds_) count += second.number > oldest ? second.count : 0;
  return static_cast<double>(count) / std::clamp(age, 1.0, static_cast<double>(kSeconds));
}

}  // namespace nabla
