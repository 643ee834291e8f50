#pragma once

#include <cstdint>

namespace nabla::chaos {

// How long actors take to say hello after they lost their learner. Times are seconds of any one clock.
class Comeback {
 public:
  static constexpr double kPromptS = 5.0;  // the figures E3 and E5

  // From now on so many hellos are awaited, whatever was awaited before; `hellos`: that were said so far.
  void begin(std::int64_t awaited, std::int64_t hellos, double now_s);
  // Whatever was awaited is not awaited any more.
  void abandon() { awaited_ = 0; }
  // Nothing is awaited for longer than it may take.
  void look(std::int64_t hellos, double now_s);
  bool waits() const { return awaited_ > 0; }

  std::int64_t times() const { return times_; }
  double longest_s() const { return longest_s_; }
  bool is_prompt() const { return longest_s_ <= kPromptS; }

 private:
  std::int64_t awaited_ = 0, hellos_ = 0, times_ = 0;
  double began_s_ = 0, longest_s_ = 0;
};

}  // namespace nabla::chaos
