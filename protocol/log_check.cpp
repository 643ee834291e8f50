#include "protocol/log_check.h"

#include "common/digest.h"
#include "common/error.h"
#include "common/mapped_file.h"
#include "protocol/log_entry.h"
#include "protocol/segment_files.h"
#include "protocol/segment_scan.h"

#include <algorithm>
#include <functional>
#include <optional>

namespace nabla {

namespace {

// Goes through all segments; tells of each entry that can be read, in order.
class LogWalk {
 public:
  using Visitor = std::function<void(LogEntry)>;

  LogWalk(const std::string& folder, Visitor visitor) : segments_(segments_of(folder)), visitor_(std::move(visitor)) {}

  LogCheck run() {
    for (const SegmentPath& segment : segments_) read(segment);
    check_.segments = segments_.size();
    return std::move(check_);
  }

 private:
  void read(const SegmentPath& segment) {
    const auto file = std::make_shared<MappedFile>(segment.path);
    const auto bytes = file->bytes();
    check_.bytes += bytes.size();
    if (segment.end_seq == kNoEnd && segments_.size() > 1 && is_torn_header(bytes)) {
      check_.warnings.push_back(fmt::format("'{}' ends in a torn entry at byte 0 (its header was not written)", segment.path));
      return;
    }
    const std::size_t faults_before = check_.damages.size();
    if (const auto fault = find_header_fault(bytes, segment.base_seq, run_digest_)) add(segment, 0, kSegmentHeaderBytes, *fault);
    const SegmentScan scan = scan_segment(bytes, segment.base_seq, segment.end_seq);
    const Footer told = find_footer(bytes).value_or(Footer{});
    for (const ScanFault& fault : scan.faults) note(segment, fault, told.index);
    std::vector<IndexEntry> index;
    for (const ScannedBlock& entry : scan.entries) take(segment, entry, file, index);
    // Of a damaged segment the footer's sums cannot fit.
    if (scan.footer && check_.damages.size() == faults_before) check_footer(segment, bytes, *scan.footer, index);
  }

  void add(const SegmentPath& segment, std::uint64_t begin, std::uint64_t end, const std::string& reason) {
    check_.damages.push_back({segment.path, begin, end, 0, 0, reason, {}});
  }

  void note(const SegmentPath& segment, const ScanFault& fault, const std::vector<IndexEntry>& told) {
    if (fault.torn && (segment.end_seq == kNoEnd || fault.first_seq == fault.end_seq)) {
      check_.warnings.push_back(fmt::format("'{}' ends in a torn entry at byte {} ({})", segment.path, fault.begin, fault.reason));
      return;
    }
    LogDamage damage{segment.path, fault.begin, fault.end, fault.first_seq, fault.end_seq, fault.reason, {}};
    for (const IndexEntry& line : told) {
      if (line.seq >= fault.first_seq && line.seq < fault.end_seq && line.slot >= 0) damage.slots.push_back(line.slot);
    }
    check_.damages.push_back(std::move(damage));
  }

  void take(const SegmentPath& segment, const ScannedBlock& scanned, const std::shared_ptr<MappedFile>& file,
            std::vector<IndexEntry>& index) {
    const FoundBlock& block = scanned.block;
    EntryOfBlock found = entry_of(block, file);
    RecordHeader header;
    if (const auto* encoded = found.entry ? std::get_if<EncodedRecord>(&*found.entry) : nullptr) {
      DecodeResult decoded = decode_record(*encoded, {.check_crc = false, .check_finite = false});
      if (decoded.reject != Reject::kNone)
        found.fault = fmt::format("record {} is {} ({})", block.seq, name_of(decoded.reject), decoded.reason);
      header = std::move(decoded.record.header);
    }
    if (!found.fault.empty()) {
      const std::uint64_t end = scanned.offset + block.total_bytes;
      check_.damages.push_back({segment.path, scanned.offset, end, block.seq, block.seq + 1, found.fault, {}});
      return;
    }
    index.push_back(index_of(*found.entry, header, {.seq = block.seq, .offset = scanned.offset, .type = block.type}));
    ++check_.entries;
    if (block.type == BlockType::kRecord) ++check_.records;
    if (visitor_) visitor_(std::move(*found.entry));
  }

  void check_footer(const SegmentPath& segment, std::span<const std::byte> bytes, const Footer& footer,
                    const std::vector<IndexEntry>& index) {
    const std::uint64_t end = bytes.size();
    if (digest_hex(bytes.first(footer.offset)) != footer.summary.digest)
      add(segment, footer.offset, end, "the digest of its footer is not that of the file before it");
    SegmentSummary summary{.base_seq = segment.base_seq, .digest = footer.summary.digest};
    for (const IndexEntry& line : index) count_entry(summary, line);
    if (summary != footer.summary) return add(segment, footer.offset, end, "the counts of its footer are not those of its entries");
    const auto wrong = std::ranges::mismatch(index, footer.index).in1;
    if (wrong == index.end()) return;
    add(segment, footer.offset, end, fmt::format("line {} of its footer's index does not describe its entry", wrong - index.begin()));
  }

  const std::vector<SegmentPath> segments_;
  const Visitor visitor_;
  std::optional<RunDigest> run_digest_;
  LogCheck check_;
};

LogHeader made_up_header(const std::vector<LogEntry>& entries) {
  LogHeader header;
  for (const LogEntry& entry : entries) {
    const auto* encoded = std::get_if<EncodedRecord>(&entry);
    if (encoded == nullptr) continue;
    header.run_id = decode_record(*encoded, {.check_crc = false, .check_finite = false}).record.header.run_id;
    break;
  }
  return header;
}

}  // namespace

LogCheck check_log(const std::string& folder) { return LogWalk(folder, nullptr).run(); }

LogSalvage salvage_log(const std::string& folder, const std::string& target) {
  LogSalvage salvage;
  std::vector<LogEntry> entries;  // records are views of the mapped files
  std::optional<LogHeader> header;
  salvage.found = LogWalk(folder, [&](LogEntry entry) {
                    if (const auto* found = std::get_if<LogHeader>(&entry)) {
                      if (!header) header = *found;
                    } else {
                      entries.push_back(std::move(entry));
                    }
                  }).run();
  if (!header && entries.empty()) throw data_error("[log] '{}' holds no entry that can be read; there is nothing to salvage", folder);
  salvage.header_lost = !header;
  TrajectoryLogOptions options;
  options.folder = target;
  const auto log = TrajectoryLog::create(options, header ? *header : made_up_header(entries));
  for (const LogEntry& entry : entries) log->append(entry);
  log->close();
  salvage.copied = entries.size();
  return salvage;
}

}  // namespace nabla
