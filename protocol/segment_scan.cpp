#include "protocol/segment_scan.h"

#include <algorithm>

namespace nabla {

namespace {

constexpr std::uint64_t kLeastBlockBytes = 2 * kBlockHeaderBytes;

class Scanner {
 public:
  Scanner(std::span<const std::byte> file, std::uint64_t base_seq, std::uint64_t end_seq)
      : file_(file), end_seq_(end_seq), footer_(find_footer(file)), seq_(base_seq) {
    scan_.end = offset_;
  }

  SegmentScan run() {
    while (offset_ < file_.size() && seq_ < end_seq_ && !scan_.footer) step();
    if (offset_ < file_.size() && !scan_.footer) look_behind();
    if (end_seq_ != kNoEnd && seq_ < end_seq_) {
      scan_.faults.push_back({file_.size(), file_.size(), seq_, end_seq_, "entries are missing before the next segment", false});
      seq_ = end_seq_;
    }
    scan_.next_seq = seq_;
    return std::move(scan_);
  }

 private:
  void step() {
    const BlockCheck check = check_block(file_, offset_, seq_);
    if (check.state != BlockState::kGood) return skip(check);
    if (check.block.type == BlockType::kFooter) return take_footer(check.block);
    scan_.entries.push_back({check.block, offset_});
    scan_.end = offset_ += check.block.total_bytes;
    ++seq_;
  }

  void take_footer(const FoundBlock& block) {
    scan_.footer = footer_of(block, offset_);
    const std::uint64_t end = offset_ + block.total_bytes;
    if (!scan_.footer) scan_.faults.push_back({offset_, end, seq_, seq_, "the footer is none", false});
    if (end < file_.size()) scan_.faults.push_back({end, file_.size(), seq_, seq_, "bytes follow the footer", false});
    offset_ = file_.size();
  }

  void skip(const BlockCheck& check) {
    const bool torn = check.state == BlockState::kTorn;
    const auto found = torn ? std::nullopt : find_next(check.block);
    const BlockPlace next = found ? *found : BlockPlace{file_.size(), number_behind(check)};
    scan_.faults.push_back({offset_, next.offset, seq_, next.seq, check.reason, torn});
    offset_ = next.offset;
    seq_ = next.seq;
  }

  // Nothing can be read behind a damaged block: up to which number are entries missing?
  std::uint64_t number_behind(const BlockCheck& check) const {
    if (end_seq_ != kNoEnd) return end_seq_;
    const FoundBlock& damaged = check.block;
    const bool is_sound = damaged.total_bytes > 0;
    const bool is_no_loss = is_sound && (damaged.seq < seq_ || damaged.type == BlockType::kFooter);  // it stands again, or is the footer
    std::uint64_t next_seq = is_no_loss ? seq_ : seq_ + 1;
    if (check.state == BlockState::kTorn) return next_seq;
    // Headers of damaged blocks still tell that they were there.
    for (auto found = find_block(file_, offset_ + kBlockAlignment, next_seq); found;
         found = find_block(file_, found->offset + kBlockAlignment, next_seq)) {
      if (is_plausible(*found)) next_seq = found->seq + 1;
    }
    return next_seq;
  }

  // Bytes of a record may look like a header: no more entries can be missing than would fit.
  bool is_plausible(const BlockPlace& found) const { return found.seq - seq_ <= (found.offset - offset_) / kLeastBlockBytes; }

  // The next good block with a number that was not yet read.
  std::optional<BlockPlace> find_next(const FoundBlock& damaged) const {
    if (footer_) return find_in_index();
    const bool is_sound = damaged.total_bytes > 0;
    // The numbers before this one are missing, and it is none the worse for that.
    if (is_sound && damaged.seq > seq_ && check_block(file_, offset_, damaged.seq).state == BlockState::kGood)
      return BlockPlace{offset_, damaged.seq};
    const std::uint64_t from = is_sound ? offset_ + damaged.total_bytes : offset_ + kBlockAlignment;
    for (auto found = find_block(file_, from, seq_); found; found = find_block(file_, found->offset + kBlockAlignment, seq_)) {
      if (is_plausible(*found) && check_block(file_, found->offset, found->seq).state == BlockState::kGood) return found;
    }
    return std::nullopt;
  }

  std::optional<BlockPlace> find_in_index() const {
    for (const IndexEntry& line : footer_->index) {
      if (line.offset > offset_ && line.seq >= seq_ && check_block(file_, line.offset, line.seq).state == BlockState::kGood)
        return BlockPlace{line.offset, line.seq};
    }
    if (offset_ >= footer_->offset) return std::nullopt;
    return BlockPlace{footer_->offset, footer_->summary.base_seq + footer_->summary.num_entries};
  }

  // Behind the entries that count: a footer, or what a failed write left there before the next segment was begun.
  void look_behind() {
    const BlockCheck check = check_block(file_, offset_, seq_);
    if (check.state == BlockState::kGood && check.block.type == BlockType::kFooter) return take_footer(check.block);
    if (check.state == BlockState::kGood) return;
    scan_.faults.push_back({offset_, file_.size(), seq_, seq_, check.reason, check.state == BlockState::kTorn});
  }

  const std::span<const std::byte> file_;
  const std::uint64_t end_seq_;
  const std::optional<Footer> footer_;  // found from behind
  std::uint64_t offset_ = kSegmentHeaderBytes, seq_;
  SegmentScan scan_;
};

}  // namespace

SegmentScan scan_segment(std::span<const std::byte> file, std::uint64_t base_seq, std::uint64_t end_seq) {
  return Scanner(file, base_seq, end_seq).run();
}

}  // namespace nabla
