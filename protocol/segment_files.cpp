#include "protocol/segment_files.h"

#include "common/error.h"
#include "protocol/log_format.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace nabla {

std::vector<SegmentPath> find_segments(const std::string& folder) {
  std::error_code code;
  std::vector<SegmentPath> segments;
  for (const auto& file : std::filesystem::directory_iterator(folder, code)) {
    if (file.path().extension() != ".seg") continue;
    SegmentPath segment{file.path().string()};
    const std::string stem = file.path().stem().string();
    const char* const end = stem.data() + stem.size();
    const bool is_number = stem.starts_with("q-") && std::from_chars(stem.data() + 2, end, segment.base_seq).ptr == end;
    if (!is_number || file.path().filename() != segment_name(segment.base_seq))
      throw data_error("[log] '{}' has no segment's name (like {}); move it away", segment.path, segment_name(0));
    segments.push_back(std::move(segment));
  }
  if (code) throw data_error("[log] cannot read the folder '{}': {}", folder, code.message());
  std::ranges::sort(segments, {}, &SegmentPath::base_seq);
  for (std::size_t i = 1; i < segments.size(); ++i) segments[i - 1].end_seq = segments[i].base_seq;
  return segments;
}

std::vector<SegmentPath> segments_of(const std::string& folder) {
  auto segments = find_segments(folder);
  if (segments.empty()) throw data_error("[log] '{}' holds no trajectory log (no q-*.seg)", folder);
  return segments;
}

}  // namespace nabla
