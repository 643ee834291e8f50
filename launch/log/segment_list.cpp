#include "launch/log/segment_list.h"

#include "common/mapped_file.h"
#include "launch/log/log_text.h"
#include "protocol/durable_mark.h"
#include "protocol/log_entry.h"
#include "protocol/segment_files.h"
#include "protocol/segment_scan.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <filesystem>

namespace nabla {

namespace {

SegmentSummary scanned_summary(std::span<const std::byte> bytes, const SegmentPath& segment) {
  SegmentSummary summary;
  for (const ScannedBlock& entry : scan_segment(bytes, segment.base_seq, segment.end_seq).entries) {
    if (const auto line = index_of(entry.block, entry.offset)) count_entry(summary, *line);
  }
  return summary;
}

SegmentFacts facts_of(const SegmentPath& segment, bool live) {
  const MappedFile file(segment.path);
  SegmentFacts facts;
  facts.path = segment.path;
  facts.bytes = file.bytes().size();
  facts.base_seq = segment.base_seq;
  const SegmentHeaderCheck header = check_segment_header(file.bytes());
  facts.created_unix_ms = header.fields.created_unix_ms;
  const auto footer = find_footer(file.bytes());
  const SegmentSummary summary = footer ? footer->summary : scanned_summary(file.bytes(), segment);
  facts.entries = summary.num_entries;
  facts.records = summary.num_records;
  facts.min_version = summary.min_version;
  facts.max_version = summary.max_version;
  facts.state = footer ? "sealed" : segment.end_seq != kNoEnd ? "given up" : live ? "open" : "not sealed";
  if (header.fault) facts.state = "damaged: " + *header.fault;
  return facts;
}

std::string versions_text(const SegmentFacts& facts) {
  if (facts.min_version < 0) return "-";
  return facts.min_version == facts.max_version ? std::to_string(facts.min_version)
                                                : fmt::format("{}-{}", facts.min_version, facts.max_version);
}

}  // namespace

std::vector<SegmentFacts> list_segments(const std::string& folder) {
  const bool live = progress_of_log(folder).live;
  std::vector<SegmentFacts> segments;
  for (const SegmentPath& segment : segments_of(folder)) segments.push_back(facts_of(segment, live));
  return segments;
}

std::string segments_text(const std::vector<SegmentFacts>& segments) {
  std::string text = fmt::format("{:<18}  {:>12}  {:>8}  {:>8}  {:>9}  {:<19}  {}\n", "segment", "bytes", "entries", "records", "versions",
                                 "created", "state");
  SegmentFacts sum;
  for (const SegmentFacts& facts : segments) {
    text += fmt::format("{:<18}  {:>12}  {:>8}  {:>8}  {:>9}  {:<19}  {}\n", std::filesystem::path(facts.path).filename().string(),
                        facts.bytes, facts.entries, facts.records, versions_text(facts), time_text(facts.created_unix_ms), facts.state);
    sum.bytes += facts.bytes;
    sum.entries += facts.entries;
    sum.records += facts.records;
  }
  return text + fmt::format("{} segments, {}, {} entries, {} records\n", segments.size(), bytes_text(sum.bytes), sum.entries, sum.records);
}

nlohmann::ordered_json segments_json(const std::vector<SegmentFacts>& segments) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const SegmentFacts& facts : segments) {
    list.push_back({{"segment", facts.path},
                    {"state", facts.state},
                    {"bytes", facts.bytes},
                    {"base_seq", facts.base_seq},
                    {"entries", facts.entries},
                    {"records", facts.records},
                    {"min_version", facts.min_version},
                    {"max_version", facts.max_version},
                    {"created_unix_ms", facts.created_unix_ms}});
  }
  return list;
}

}  // namespace nabla
