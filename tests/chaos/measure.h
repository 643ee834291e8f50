#pragma once

#include <cstdint>
#include <string>

namespace nabla::chaos {

enum class Effort { kSmall, kFull, kNightly };

struct MeasureOptions {
  std::string program, disk_shim, clock_shim, folder;  // as in ChaosOptions
  std::string out;                                     // JSON file; runs of this very program that it holds are not made again
  Effort effort = Effort::kFull;
  std::string only;     // cases whose names begin so; empty: all
  double budget_s = 0;  // no case begins when so much time has passed; 0: all are run
};

// Runs every case (scenarios, seeded bugs, faults of bytes) as often as the effort asks: first each once, those of the figures A before others, then each a
// second time, and so on. Counts are written after each run, so that it can be ended and started again. What another program left of a case is replaced when
// the case's turn comes. Returns whether nothing was found that must not be, and every seeded bug was.
bool measure(const MeasureOptions& options);

}  // namespace nabla::chaos
