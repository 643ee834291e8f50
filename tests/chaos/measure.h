#pragma once

#include <cstdint>
#include <string>

namespace nabla::chaos {

enum class Effort { kSmall, kFull, kNightly };

struct MeasureOptions {
  std::string program, disk_shim, clock_shim, folder;  // as in ChaosOptions
  std::string out;                                     // JSON file; what it holds already is not run again
  Effort effort = Effort::kFull;
  std::string only;  // scenarios whose names begin so; empty: all
};

// Runs every scenario as often as the effort asks, then the seeded bugs and the faults of bytes, and writes the counts after each run, so that it
// can be ended and started again. Returns whether nothing was found that must not be, and every seeded bug was.
bool measure(const MeasureOptions& options);

}  // namespace nabla::chaos
