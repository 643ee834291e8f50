#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace nabla::chaos {

// What a process holds at one moment.
struct Footprint {
  std::int64_t resident_bytes = 0, descriptors = 0;
};
// Zeros where there is no such process.
Footprint footprint_of(pid_t pid);

// Means over the second and over the last quarter of a run: a process that is flat has about the same in both. The first quarter is its start.
// Of a run's second sixth and its last one; what comes before is its start.
struct Growth {
  Footprint early, late;
};
// From samples at equal distances.
Growth growth_of(const std::vector<Footprint>& samples);
// Why it is not flat: late memory above early by more than 5% and 2 MiB, or descriptors that differ by more than 4. Empty: it is flat.
std::string find_growth(const Growth& growth);

}  // namespace nabla::chaos
