#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace nabla {

inline constexpr std::uint64_t kNoEnd = std::numeric_limits<std::uint64_t>::max();

struct SegmentPath {
  std::string path;
  std::uint64_t base_seq = 0;      // by its name
  std::uint64_t end_seq = kNoEnd;  // what the next segment begins with; kNoEnd: it is the last one
};

// The segments of a folder in the order of their numbers; other files are not looked at. data_error if the folder cannot be read, or a *.seg file has no
// segment's name.
std::vector<SegmentPath> find_segments(const std::string& folder);
// The same; data_error also if there is none.
std::vector<SegmentPath> segments_of(const std::string& folder);

}  // namespace nabla
