#include "protocol/log_trim.h"

#include "common/error.h"
#include "common/files.h"
#include "common/mapped_file.h"
#include "protocol/log_entry.h"
#include "protocol/segment_files.h"
#include "protocol/segment_scan.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>

namespace nabla {

namespace {

constexpr std::int64_t kNone = -1, kNoVersion = std::numeric_limits<std::int64_t>::max();

// What decides whether a segment can go.
struct SegmentNeeds {
  bool is_sealed = false, has_header = false;
  std::uint64_t bytes = 0, entries = 0;
  std::int64_t last_update = kNone;      // of its records, discards and trained updates
  std::int64_t last_published = kNone;   // version
  std::int64_t first_used = kNoVersion;  // lowest version that made one of its records that are still needed
};

void add_entry(SegmentNeeds& needs, const FoundBlock& block, const std::string& path, std::int64_t before_update) {
  needs.has_header = needs.has_header || block.type == BlockType::kHeader;
  if (block.type == BlockType::kRecord) {
    RecordHeader header;
    if (!decode(block.frames[0], header).ok) throw data_error("[log] '{}': record {} cannot be read", path, block.seq);
    needs.last_update = std::max(needs.last_update, header.update);
    if (header.update >= before_update) needs.first_used = std::min(needs.first_used, header.version);
    return;
  }
  const EntryOfBlock found = entry_of(block, nullptr);
  if (!found.entry) throw data_error("[log] '{}': {}", path, found.fault);
  if (const auto* entry = std::get_if<PublishEntry>(&*found.entry)) needs.last_published = std::max(needs.last_published, entry->version);
  if (const auto* entry = std::get_if<DiscardEntry>(&*found.entry)) needs.last_update = std::max(needs.last_update, entry->update);
  if (const auto* entry = std::get_if<TrainedEntry>(&*found.entry)) needs.last_update = std::max(needs.last_update, entry->update);
}

SegmentNeeds needs_of(const SegmentPath& segment, std::int64_t before_update) {
  const MappedFile file(segment.path);
  const auto bytes = file.bytes();
  SegmentNeeds needs;
  needs.bytes = bytes.size();
  const auto footer = find_footer(bytes);
  needs.is_sealed = footer.has_value();
  if (!footer) {
    for (const ScannedBlock& scanned : scan_segment(bytes, segment.base_seq, segment.end_seq).entries)
      add_entry(needs, scanned.block, segment.path, before_update);
    return needs;
  }
  needs.entries = footer->index.size();
  for (const IndexEntry& line : footer->index) {
    const auto block = peek_block(bytes, line.offset, line.seq);
    if (!block) throw data_error("[log] '{}' is damaged at byte {}: entry {} cannot be read", segment.path, line.offset, line.seq);
    add_entry(needs, *block, segment.path, before_update);
  }
  return needs;
}

// Why the segment cannot go; empty: it can.
std::string why_needed(const std::vector<SegmentNeeds>& all, std::size_t place, std::int64_t before_update) {
  const SegmentNeeds& needs = all[place];
  if (place + 1 == all.size()) return "it is the last one";
  if (!needs.is_sealed) return "it is not sealed";
  if (!all[place + 1].has_header) return "the next one does not begin with the log's header";
  if (needs.last_update >= before_update) return fmt::format("it holds entries of update {}", needs.last_update);
  std::int64_t first_used = kNoVersion, last_published = kNone;
  for (std::size_t later = place + 1; later < all.size(); ++later) {
    first_used = std::min(first_used, all[later].first_used);
    last_published = std::max(last_published, all[later].last_published);
  }
  // The newest version is needed by records to come.
  if (needs.last_published > last_published) return fmt::format("it publishes the newest version, {}", needs.last_published);
  if (needs.last_published >= first_used)
    return fmt::format("it publishes version {}; later records were made by versions from {} on", needs.last_published, first_used);
  return "";
}

}  // namespace

LogTrim plan_trim(const std::string& folder, std::int64_t before_update) {
  const auto segments = segments_of(folder);
  std::vector<SegmentNeeds> needs;
  for (const SegmentPath& segment : segments) needs.push_back(needs_of(segment, before_update));
  LogTrim trim;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    trim.kept_because = why_needed(needs, i, before_update);
    if (!trim.kept_because.empty()) break;
    trim.segments.push_back(segments[i].path);
    trim.bytes += needs[i].bytes;
    trim.entries += needs[i].entries;
  }
  return trim;
}

LogTrim trim_log(const std::string& folder, std::int64_t before_update) {
  LogTrim trim = plan_trim(folder, before_update);
  for (const std::string& path : trim.segments) {
    if (::unlink(path.c_str()) != 0) throw failure("[log] cannot remove '{}': {}", path, std::strerror(errno));
  }
  if (!trim.segments.empty()) sync_folder(folder);
  return trim;
}

}  // namespace nabla
