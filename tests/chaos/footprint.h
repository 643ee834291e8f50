#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace nabla::chaos {

// What a process holds at one moment.
struct Footprint {
  std::int64_t resident_bytes = 0, descriptors = 0;
};
// Zeros where there is no such process.
Footprint footprint_of(pid_t pid);

// Means over the second and over the last quarter of a run: a process that is flat has about the same in both. The first quarter is its start.
struct Growth {
  Footprint early, late;
};
Growth growth_of(const std::vector<Footprint>& samples);

}  // namespace nabla::chaos
