#include "common/error.h"
#include "common/mapped_file.h"
#include "protocol/log_entry.h"
#include "protocol/segment_files.h"
#include "protocol/trajectory_log.h"

#include <algorithm>
#include <utility>

namespace nabla {

struct TrajectoryLogReader::Impl {
  explicit Impl(const std::string& log_folder) : folder(log_folder), segments_(segments_of(log_folder)) {}

  std::optional<LogEntry> next();
  void extend(std::uint64_t new_end_seq);

  const std::string folder;
  std::vector<std::string> warnings;

 private:
  const SegmentPath& segment() const { return segments_[segment_]; }
  bool is_last() const { return segment().end_seq == kNoEnd; }
  // Where the next segment takes over; what stands here behind that was written again there.
  bool is_continued() const { return expected_seq_ == segment().end_seq; }
  Error damage(const std::string& reason) const;
  void stop_at_torn_tail(const std::string& reason);
  bool open_segment();
  void finish_segment(const FoundBlock* footer);
  bool finish_abandoned_segment();
  void check_footer(const FoundBlock& footer) const;
  LogEntry take_entry(const FoundBlock& block);
  bool is_repeated_header(const LogEntry& entry);

  std::vector<SegmentPath> segments_;
  std::size_t segment_ = 0;  // index in segments_
  std::shared_ptr<MappedFile> file_;
  std::uint64_t offset_ = 0, expected_seq_ = 0, base_seq_ = 0, end_seq_ = kNoEnd;
  std::optional<RunDigest> run_digest_;
  std::optional<LogHeader> header_;
  bool opened_any_ = false, ended_ = false;
};

Error TrajectoryLogReader::Impl::damage(const std::string& reason) const {
  return data_error(
      "[log] '{}' is damaged at byte {}: {}. Take the file from a copy, or save what is left: nabla log salvage {} --out NEW_FOLDER",
      segment().path, offset_, reason, folder);
}

void TrajectoryLogReader::Impl::stop_at_torn_tail(const std::string& reason) {
  if (!is_last()) throw damage(reason);
  warnings.push_back(
      fmt::format("'{}' ends in a torn entry at byte {} ({}); what stands before it was read", segment().path, offset_, reason));
  ended_ = true;
}

// Maps the next segment; false if a crash left only a beginning of its header.
bool TrajectoryLogReader::Impl::open_segment() {
  file_ = std::make_shared<MappedFile>(segment().path);
  offset_ = 0;
  if (is_last() && opened_any_ && is_torn_header(file_->bytes())) {
    stop_at_torn_tail("its header was not written");
    return false;
  }
  base_seq_ = segment().base_seq;
  if (!std::exchange(opened_any_, true)) expected_seq_ = base_seq_;
  if (const auto fault = find_header_fault(file_->bytes(), base_seq_, run_digest_)) throw damage(*fault);
  if (base_seq_ != expected_seq_)
    throw damage(fmt::format("it starts with entry {} where entry {} is expected; a segment is missing", base_seq_, expected_seq_));
  offset_ = kSegmentHeaderBytes;
  return true;
}

void TrajectoryLogReader::Impl::check_footer(const FoundBlock& block) const {
  const auto footer = footer_of(block, offset_);
  if (!footer) throw damage("its footer is none");
  const SegmentSummary& summary = footer->summary;
  const std::uint64_t num_entries = expected_seq_ - base_seq_;
  if (summary.base_seq != base_seq_ || summary.num_entries != num_entries) {
    throw damage(fmt::format("its footer counts {} entries from {}, {} stand from {}", summary.num_entries, summary.base_seq, num_entries,
                             base_seq_));
  }
  if (offset_ + block.total_bytes != file_->bytes().size()) throw damage("bytes follow the footer");
}

// The end of a segment: with a footer, or without one where the log was not closed.
void TrajectoryLogReader::Impl::finish_segment(const FoundBlock* footer) {
  if (footer != nullptr) check_footer(*footer);
  if (footer == nullptr && !is_last() && !is_continued()) throw damage("the segment ends without a footer before the next one begins");
  file_.reset();
  ended_ = is_last();
  ++segment_;
}

// The next segment takes over where a write or sync failed in this one: whole or torn blocks may be left behind. A damaged footer is no such thing.
bool TrajectoryLogReader::Impl::finish_abandoned_segment() {
  if (!is_continued()) return false;
  const BlockCheck check = check_block(file_->bytes(), offset_, expected_seq_);
  const bool is_left_over =
      check.state == BlockState::kTorn || (check.state == BlockState::kGood && check.block.type != BlockType::kFooter);
  if (!is_left_over) return false;
  warnings.push_back(
      fmt::format("'{}' was given up at byte {} after a write failed; the next segment goes on from there", segment().path, offset_));
  finish_segment(nullptr);
  return true;
}

LogEntry TrajectoryLogReader::Impl::take_entry(const FoundBlock& block) {
  EntryOfBlock found = entry_of(block, file_);
  if (!found.entry) throw damage(found.fault);
  const bool is_header = std::holds_alternative<LogHeader>(*found.entry);
  if (is_header != (block.seq == base_seq_) && (is_header || !header_)) throw damage("the log does not start with its header entry");
  return std::move(*found.entry);
}

// Every segment begins with the log's header, so that a log can be trimmed; only the first one is told.
bool TrajectoryLogReader::Impl::is_repeated_header(const LogEntry& entry) {
  const auto* header = std::get_if<LogHeader>(&entry);
  if (header == nullptr) return false;
  if (!header_) {
    header_ = *header;
    return false;
  }
  if (header->run_id != header_->run_id || header->weights_contract != header_->weights_contract)
    throw damage("its header entry is not that of the segments before it");
  return true;
}

std::optional<LogEntry> TrajectoryLogReader::Impl::next() {
  while (!ended_ && expected_seq_ < end_seq_) {
    if (!file_ && !open_segment()) break;
    if (offset_ == file_->bytes().size()) {
      finish_segment(nullptr);
      continue;
    }
    if (finish_abandoned_segment()) continue;
    const BlockCheck check = check_block(file_->bytes(), offset_, expected_seq_);
    if (check.state == BlockState::kCorrupt) throw damage(check.reason);
    if (check.state == BlockState::kTorn) {
      stop_at_torn_tail(check.reason);
      break;
    }
    if (check.block.type == BlockType::kFooter) {
      finish_segment(&check.block);
      continue;
    }
    LogEntry entry = take_entry(check.block);
    const bool is_repeated = is_repeated_header(entry);
    offset_ += check.block.total_bytes;
    ++expected_seq_;
    if (!is_repeated) return entry;
  }
  return std::nullopt;
}

void TrajectoryLogReader::Impl::extend(std::uint64_t new_end_seq) {
  end_seq_ = new_end_seq;
  if (ended_ || (opened_any_ && expected_seq_ >= end_seq_)) return;
  const SegmentPath current = segment();
  auto found = segments_of(folder);
  // Segments before the current one may be gone by trimming; the current one, too, but it stays mapped.
  const auto place = std::ranges::lower_bound(found, current.base_seq, {}, &SegmentPath::base_seq);
  const bool is_there = place != found.end() && place->base_seq == current.base_seq;
  segment_ = static_cast<std::size_t>(place - found.begin());
  if (!is_there && file_) found.insert(place, {current.path, current.base_seq, place == found.end() ? kNoEnd : place->base_seq});
  segments_ = std::move(found);
  if (is_there && file_) file_ = std::make_shared<MappedFile>(segment().path);
}

TrajectoryLogReader::TrajectoryLogReader(const std::string& folder) : impl_(std::make_unique<Impl>(folder)) {}

TrajectoryLogReader::~TrajectoryLogReader() = default;

std::optional<LogEntry> TrajectoryLogReader::next() { return impl_->next(); }

void TrajectoryLogReader::extend(std::uint64_t end_seq) { impl_->extend(end_seq); }

const std::vector<std::string>& TrajectoryLogReader::warnings() const { return impl_->warnings; }

}  // namespace nabla
