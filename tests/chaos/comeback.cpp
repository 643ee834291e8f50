#include "tests/chaos/comeback.h"

#include <algorithm>

namespace nabla::chaos {

void Comeback::begin(std::int64_t awaited, std::int64_t hellos, double now_s) {
  awaited_ = awaited;
  hellos_ = hellos;
  began_s_ = now_s;
}

void Comeback::look(std::int64_t hellos, double now_s) {
  if (!waits()) return;
  const double took_s = now_s - began_s_;
  if (hellos - hellos_ < awaited_ && took_s <= kPromptS) return;
  awaited_ = 0;
  ++times_;
  longest_s_ = std::max(longest_s_, took_s);
}

}  // namespace nabla::chaos
