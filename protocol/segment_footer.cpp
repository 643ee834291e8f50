#include "protocol/segment_footer.h"

#include "common/crc32c.h"
#include "protocol/byte_fields.h"

#include <algorithm>

namespace nabla {

namespace {

void write_line(std::span<std::byte> line, const IndexEntry& entry) {
  put(line, 0, entry.seq);
  put(line, 8, entry.offset);
  put(line, 16, entry.slot);
  put(line, 24, static_cast<std::uint16_t>(entry.type));
  put(line, 26, entry.kind);
  put(line, 28, static_cast<std::uint32_t>(std::max<std::int64_t>(entry.version, 0)));
}

IndexEntry read_line(std::span<const std::byte> line) {
  IndexEntry entry;
  entry.seq = get<std::uint64_t>(line, 0);
  entry.offset = get<std::uint64_t>(line, 8);
  entry.slot = get<std::int64_t>(line, 16);
  entry.type = static_cast<BlockType>(get<std::uint16_t>(line, 24));
  entry.kind = get<std::uint16_t>(line, 26);
  if (entry.type == BlockType::kRecord) entry.version = get<std::uint32_t>(line, 28);
  return entry;
}

// Numbers without gaps, blocks one behind the other.
bool is_index(const Footer& footer) {
  std::uint64_t seq = footer.summary.base_seq, end = kSegmentHeaderBytes;
  for (const IndexEntry& entry : footer.index) {
    if (entry.seq != seq++ || entry.offset < end || entry.offset % kBlockAlignment != 0 || entry.offset >= footer.offset) return false;
    end = entry.offset + kBlockHeaderBytes;
  }
  return true;
}

}  // namespace

void count_entry(SegmentSummary& summary, const IndexEntry& entry) {
  ++summary.num_entries;
  if (entry.type != BlockType::kRecord) return;
  ++summary.num_records;
  summary.min_version = summary.min_version < 0 ? entry.version : std::min(summary.min_version, entry.version);
  summary.max_version = std::max(summary.max_version, entry.version);
}

Block make_footer(const SegmentSummary& summary, std::span<const IndexEntry> index) {
  const auto lines = std::make_shared<std::vector<std::byte>>(index.size() * kIndexEntryBytes);
  for (std::size_t i = 0; i < index.size(); ++i) write_line(std::span(*lines).subspan(i * kIndexEntryBytes), index[i]);
  Block footer;
  footer.type = BlockType::kFooter;
  footer.seq = summary.base_seq + summary.num_entries;
  footer.num_frames = 2;
  footer.frames = {encode(summary), Bytes{lines, *lines}};
  for (std::size_t i = 0; i < footer.frames.size(); ++i) footer.frame_crc32c[i] = crc32c(footer.frames[i].view);
  return footer;
}

std::optional<Footer> footer_of(const FoundBlock& block, std::uint64_t offset) {
  if (block.type != BlockType::kFooter || block.num_frames != 2) return std::nullopt;
  Footer footer;
  footer.offset = offset;
  if (!decode(block.frames[0], footer.summary).ok) return std::nullopt;
  const auto lines = block.frames[1];
  const bool adds_up = block.seq >= footer.summary.base_seq && footer.summary.num_entries == block.seq - footer.summary.base_seq &&
                       lines.size() % kIndexEntryBytes == 0 && lines.size() / kIndexEntryBytes == footer.summary.num_entries;
  if (!adds_up) return std::nullopt;
  for (std::size_t at = 0; at < lines.size(); at += kIndexEntryBytes)
    footer.index.push_back(read_line(lines.subspan(at, kIndexEntryBytes)));
  if (!is_index(footer)) return std::nullopt;
  return footer;
}

std::optional<Footer> find_footer(std::span<const std::byte> file) {
  if (file.size() < kSegmentHeaderBytes + 2 * kBlockHeaderBytes || file.size() % kBlockAlignment != 0) return std::nullopt;
  const auto length = get<std::uint64_t>(file.last(kTrailerBytes), 0);
  if (length > file.size() - kSegmentHeaderBytes || length % kBlockAlignment != 0) return std::nullopt;
  const std::uint64_t offset = file.size() - length;
  const auto seq = block_number(file, offset);
  if (!seq) return std::nullopt;
  const BlockCheck check = check_block(file, offset, *seq);
  return check.state == BlockState::kGood ? footer_of(check.block, offset) : std::nullopt;
}

}  // namespace nabla
