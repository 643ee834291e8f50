#pragma once

#include <cstdint>
#include <string>

namespace nabla::chaos {

// Faults of bytes that need no processes. `missed`: tries that were not noticed, or cost more than they may; it has to be 0.
struct ByteFaults {
  std::int64_t tries = 0, missed = 0;
  std::string first_miss;
};

// B5: a record on its way has 1 to 8 of its bits flipped, of one place or of many: the validator refuses it.
ByteFaults flip_record_bits(std::int64_t tries, std::uint64_t seed);
// B7: a log whose last record has 4 MiB is cut off at a random byte of it: all before is read, with a warning.
ByteFaults tear_long_tail(std::int64_t tries, std::uint64_t seed);
// B8: one bit of a sealed segment flips: it is noticed, at most one record cannot be read, and all others can.
ByteFaults rot_sealed_segment(std::int64_t tries, std::uint64_t seed);

}  // namespace nabla::chaos
