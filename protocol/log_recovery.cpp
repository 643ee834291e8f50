#include "protocol/log_recovery.h"

#include "common/error.h"
#include "common/failpoint.h"
#include "common/files.h"
#include "common/mapped_file.h"
#include "protocol/segment_files.h"
#include "protocol/segment_scan.h"
#include "protocol/segment_writer.h"

#include <filesystem>
#include <optional>

namespace nabla {

namespace {

// What is to be done to the last segment.
struct Tail {
  std::string path;
  std::shared_ptr<MappedFile> file;
  Footer kept;             // its good entries; kept.offset is their end
  std::string cut_reason;  // why the rest is cut off; empty: there is none
};

class Recovery {
 public:
  explicit Recovery(const std::string& folder) : folder_(folder), segments_(segments_of(folder)) {}

  LogRecovery run() {
    recovery_.next_seq = segments_.front().base_seq;
    for (const SegmentPath& segment : segments_) read(segment);
    if (recovery_.header.run_id.empty()) throw damage(segments_.front(), kSegmentHeaderBytes, "no header entry can be read");
    // Only now, when all is known to be in order, is anything changed.
    if (tail_) mend(*tail_);
    return std::move(recovery_);
  }

 private:
  Error damage(const SegmentPath& segment, std::uint64_t offset, const std::string& reason) const {
    return data_error(
        "[log] '{}' is damaged at byte {}: {}. Nothing was changed; save what is left with nabla log salvage {} --out NEW_FOLDER and go on "
        "from there",
        segment.path, offset, reason, folder_);
  }

  void read(const SegmentPath& segment) {
    if (segment.base_seq != recovery_.next_seq) {
      throw damage(segment, 0,
                   fmt::format("it starts with entry {} where entry {} is expected; a segment is missing", segment.base_seq,
                               recovery_.next_seq));
    }
    const auto file = std::make_shared<MappedFile>(segment.path);
    if (segment.end_seq == kNoEnd && segments_.size() > 1 && is_torn_header(file->bytes())) {
      tail_ = Tail{segment.path, file, {}, "its header was not written"};
      return;
    }
    if (const auto fault = find_header_fault(file->bytes(), segment.base_seq, run_digest_)) throw damage(segment, 0, *fault);
    if (const auto footer = find_footer(file->bytes())) {
      recovery_.bytes_read += file->bytes().size() - footer->offset;
      take(segment, *file, footer->index);
    } else {
      scan(segment, file);
    }
  }

  // A segment without a footer: the last one, or one that was given up when a write failed.
  void scan(const SegmentPath& segment, const std::shared_ptr<MappedFile>& file) {
    recovery_.bytes_read += file->bytes().size();
    SegmentScan found = scan_segment(file->bytes(), segment.base_seq, segment.end_seq);
    const bool is_last = segment.end_seq == kNoEnd;
    if (seeded_bug("recovery.cut_last_good") && is_last && found.entries.size() > 1) {
      found.end = found.entries.back().offset;
      found.entries.pop_back();
    }
    for (const ScanFault& fault : found.faults) {
      if (!fault.torn || (!is_last && fault.first_seq != fault.end_seq)) throw damage(segment, fault.begin, fault.reason);
    }
    std::vector<IndexEntry> index;
    for (const ScannedBlock& entry : found.entries) {
      const auto line = index_of(entry.block, entry.offset);
      if (!line) throw damage(segment, entry.offset, fmt::format("entry {} cannot be read", entry.block.seq));
      index.push_back(*line);
    }
    take(segment, *file, index);
    if (!is_last) return;
    tail_ = Tail{segment.path, file, {}, found.faults.empty() ? "" : found.faults.front().reason};
    tail_->kept.offset = found.end;
    tail_->kept.summary.base_seq = segment.base_seq;
    for (const IndexEntry& line : index) count_entry(tail_->kept.summary, line);
    tail_->kept.index = std::move(index);
  }

  void take(const SegmentPath& segment, const MappedFile& file, const std::vector<IndexEntry>& index) {
    for (const IndexEntry& line : index) {
      if (line.type == BlockType::kRecord) recovery_.records.push_back({line.slot, static_cast<TicketKind>(line.kind), line.version});
      if (line.type == BlockType::kDiscard) recovery_.discarded.push_back(line.slot);
    }
    recovery_.next_seq = segment.base_seq + index.size();
    if (recovery_.header.run_id.empty() && !index.empty()) take_header(segment, file, index.front());
  }

  void take_header(const SegmentPath& segment, const MappedFile& file, const IndexEntry& line) {
    const BlockCheck check = check_block(file.bytes(), line.offset, line.seq);
    if (check.state != BlockState::kGood) throw damage(segment, line.offset, check.reason);
    recovery_.bytes_read += check.block.total_bytes;
    EntryOfBlock found = entry_of(check.block, nullptr);
    if (found.entry && std::holds_alternative<LogHeader>(*found.entry)) recovery_.header = std::get<LogHeader>(std::move(*found.entry));
  }

  void mend(const Tail& tail) {
    const auto bytes = tail.file->bytes();
    if (tail.kept.offset < bytes.size()) keep_torn(tail);
    if (tail.kept.index.empty()) {
      // Nothing of it counts, and the next segment takes its name.
      std::filesystem::remove(tail.path);
    } else {
      SegmentWriter::reopen(tail.path, tail.kept, Durability::kFsync)->seal();
    }
    sync_folder(folder_);
  }

  void keep_torn(const Tail& tail) {
    const std::string copy = fmt::format("{}.{}.torn", tail.path, tail.kept.offset);
    const auto rest = tail.file->bytes().subspan(tail.kept.offset);
    AtomicFile file(copy);
    file.write(rest);
    file.commit();
    recovery_.warnings.push_back(fmt::format("'{}' ended in a torn entry at byte {} ({}); its {} bytes were cut off and are kept in '{}'",
                                             tail.path, tail.kept.offset, tail.cut_reason, rest.size(), copy));
  }

  const std::string folder_;
  const std::vector<SegmentPath> segments_;
  std::optional<RunDigest> run_digest_;
  std::optional<Tail> tail_;
  LogRecovery recovery_;
};

}  // namespace

LogRecovery recover_log(const std::string& folder) { return Recovery(folder).run(); }

}  // namespace nabla
