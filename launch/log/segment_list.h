#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

// A segment as it stands in its folder.
struct SegmentFacts {
  std::string path,
      state;  // "sealed", "open" (a process appends to it), "not sealed", "given up" (another one follows) or "damaged: reason"
  std::int64_t created_unix_ms = 0;
  std::uint64_t bytes = 0, base_seq = 0, entries = 0, records = 0;
  std::int64_t min_version = -1, max_version = -1;  // of the records; -1: it has none
};

// By the footers; a segment without one is scanned. data_error where there is no log.
std::vector<SegmentFacts> list_segments(const std::string& folder);

std::string segments_text(const std::vector<SegmentFacts>& segments);
nlohmann::ordered_json segments_json(const std::vector<SegmentFacts>& segments);

}  // namespace nabla
