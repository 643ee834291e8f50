#pragma once

#include "protocol/codec.h"
#include "protocol/log_format.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace nabla {

inline constexpr std::size_t kIndexEntryBytes = 32;

// What the log knows of an entry without reading it: one line of a footer's index.
struct IndexEntry {
  std::uint64_t seq = 0, offset = 0;
  std::int64_t slot = -1;  // of a record or a discard; -1: none
  BlockType type = BlockType::kRecord;
  std::uint16_t kind = 0;     // ticket kind of a record
  std::int64_t version = -1;  // weight version of a record; -1: none
  bool operator==(const IndexEntry&) const = default;
};

// The block that seals a segment: its summary and one line an entry.
struct Footer {
  SegmentSummary summary;
  std::vector<IndexEntry> index;
  std::uint64_t offset = 0;  // in the file
};

// Counts an entry in the summary of its segment.
void count_entry(SegmentSummary& summary, const IndexEntry& entry);

// The footer's block; summary.digest is that of all bytes before it.
Block make_footer(const SegmentSummary& summary, std::span<const IndexEntry> index);

// The footer that a good block holds; nothing if its two frames are not those of a footer, or contradict each other.
std::optional<Footer> footer_of(const FoundBlock& block, std::uint64_t offset);

// The footer at the end of a segment's file, found from behind without reading the entries. Nothing: the segment is not sealed, or its footer is damaged.
std::optional<Footer> find_footer(std::span<const std::byte> file);

}  // namespace nabla
