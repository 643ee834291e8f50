#pragma once

#include <array>
#include <cstdint>

namespace nabla {

// Events a second over the last minute, in steps of a second. Times are seconds of one monotonic clock. One thread at a time.
class RateMeter {
 public:
  explicit RateMeter(double now) : start_(now) {}

  void add(std::int64_t count, double now);
  // Over the time since the start while that is less than a minute.
  double per_second(double now) const;

 private:
  static constexpr std::int64_t kSeconds = 60;
  struct Second {
    std::int64_t number = -1, count = 0;
  };
  double start_;
  std::array<Second, kSeconds> seconds_;  // by number modulo their count
};

}  // namespace nabla
