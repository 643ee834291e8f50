#include "protocol/log_check.h"

#include "common/digest.h"
#include "common/error.h"
#include "protocol/log_entry.h"
#include "protocol/segment_files.h"
#include "protocol/segment_scan.h"

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
    for (std::size_t i = 0; i < segments_.size(); ++i) read(segments_[i], i + 1 < segments_.size() ? segments_[i + 1].base_seq : kNoEnd);
    check_.segments = segments_.size();
    return std::move(check_);
  }

 private:
  void read(const SegmentPath& segment, std::uint64_t end_seq) {
    const auto file = std::make_shared<MappedFile>(segment.path);
    const auto bytes = file->bytes();
    check_.bytes += bytes.size();
    if (end_seq == kNoEnd && segments_.size() > 1 && is_torn_header(bytes)) {
      check_.warnings.push_back(fmt::format("'{}' ends in a torn entry at byte 0 (its header was not written)", segment.path));
      return;
    }
    const std::size_t faults_before = check_.damages.size();
    check_header(segment, bytes);
    const SegmentScan scan = scan_segment(bytes, segment.base_seq, end_seq);
    for (const ScanFault& fault : scan.faults) note(segment, fault, find_footer(bytes));
    std::vector<IndexEntry> index;
    for (const ScannedBlock& entry : scan.entries) take(segment, entry, file, index);
    // Of a damaged segment the footer's sums cannot fit.
    if (scan.footer && check_.damages.size() == faults_before) check_footer(segment, bytes, *scan.footer, index);
  }

  void add(const SegmentPath& segment, std::uint64_t begin, std::uint64_t end, const std::string& reason) {
    check_.damages.push_back({segment.path, begin, end, 0, 0, reason, {}});
  }

  void check_header(const SegmentPath& segment, std::span<const std::byte> bytes) {
    const SegmentHeaderCheck check = check_segment_header(bytes);
    if (check.fault) return add(segment, 0, kSegmentHeaderBytes, *check.fault);
    if (!run_digest_) run_digest_ = check.fields.run_digest;
    if (check.fields.run_digest != *run_digest_)
      add(segment, 0, kSegmentHeaderBytes, "it belongs to another run than the segments before it");
    if (check.fields.base_seq != segment.base_seq)
      add(segment, 0, kSegmentHeaderBytes, fmt::format("its header says that it starts with entry {}", check.fields.base_seq));
  }

  void note(const SegmentPath& segment, const ScanFault& fault, const std::optional<Footer>& footer) {
    const bool is_last = segment.path == segments_.back().path;
    if (fault.torn && (is_last || fault.first_seq == fault.end_seq)) {
      check_.warnings.push_back(fmt::format("'{}' ends in a torn entry at byte {} ({})", segment.path, fault.begin, fault.reason));
      return;
    }
    LogDamage damage{segment.path, fault.begin, fault.end, fault.first_seq, fault.end_seq, fault.reason, {}};
    for (const IndexEntry& line : footer ? footer->index : std::vector<IndexEntry>{}) {
      if (line.seq >= fault.first_seq && line.seq < fault.end_seq && line.slot >= 0) damage.slots.push_back(line.slot);
    }
    check_.damages.push_back(std::move(damage));
  }

  void take(const SegmentPath& segment, const ScannedBlock& scanned, const std::shared_ptr<MappedFile>& file,
            std::vector<IndexEntry>& index) {
    const FoundBlock& block = scanned.block;
    EntryOfBlock found = entry_of(block, file);
    const auto line = found.entry ? index_of(block, scanned.offset) : std::nullopt;
    std::string fault = line ? "" : found.entry ? fmt::format("the header of record {} cannot be read", block.seq) : found.fault;
    if (const auto* encoded = line ? std::get_if<EncodedRecord>(&*found.entry) : nullptr) {
      const DecodeResult decoded = decode_record(*encoded, {.check_crc = false, .check_finite = false});
      if (decoded.reject != Reject::kNone) fault = fmt::format("record {} is {} ({})", block.seq, name_of(decoded.reject), decoded.reason);
    }
    if (!fault.empty()) {
      check_.damages.push_back({segment.path, scanned.offset, scanned.offset + block.total_bytes, block.seq, block.seq + 1, fault, {}});
      return;
    }
    index.push_back(*line);
    ++check_.entries;
    if (block.type == BlockType::kRecord) ++check_.records;
    if (visitor_) visitor_(std::move(*found.entry));
  }

  void check_footer(const SegmentPath& segment, std::span<const std::byte> bytes, const Footer& footer,
                    const std::vector<IndexEntry>& index) {
    const std::uint64_t end = bytes.size();
    if (digest_hex(bytes.first(footer.offset)) != footer.summary.digest)
      add(segment, footer.offset, end, "the digest of its footer is not that of the file before it");
    SegmentSummary summary;
    summary.base_seq = segment.base_seq;
    for (const IndexEntry& line : index) count_entry(summary, line);
    const SegmentSummary& told = footer.summary;
    const bool counts = told.base_seq == summary.base_seq && told.num_entries == summary.num_entries &&
                        told.num_records == summary.num_records && told.min_version == summary.min_version &&
                        told.max_version == summary.max_version;
    if (!counts) add(segment, footer.offset, end, "the counts of its footer are not those of its entries");
    for (std::size_t i = 0; counts && i < index.size(); ++i) {
      const IndexEntry &ours = index[i], &theirs = footer.index[i];
      const bool same = ours.offset == theirs.offset && ours.slot == theirs.slot && ours.type == theirs.type && ours.kind == theirs.kind;
      if (!same) return add(segment, footer.offset, end, fmt::format("line {} of its footer's index does not describe its entry", i));
    }
  }

  const std::vector<SegmentPath> segments_;
  const Visitor visitor_;
  std::optional<std::array<std::byte, 16>> run_digest_;
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
