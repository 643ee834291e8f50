#pragma once

#include "protocol/tensor_table.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nabla {

// The bytes of the trajectory log (WIRE_FORMAT.md, "Log"): a segment is a header of 64 bytes and blocks; a block is an entry with 1 or 2 frames.

inline constexpr std::size_t kBlockAlignment = 64;
inline constexpr std::size_t kSegmentHeaderBytes = 64;
inline constexpr std::size_t kBlockHeaderBytes = 64;
inline constexpr std::size_t kTrailerBytes = 16;

enum class BlockType : std::uint16_t { kHeader = 1, kRecord = 2, kPublish = 3, kDiscard = 4, kTrained = 5, kFooter = 6 };

using SegmentHeader = std::array<std::byte, kSegmentHeaderBytes>;
SegmentHeader make_segment_header(const std::string& run_id, std::uint64_t base_seq, std::int64_t created_unix_ms);
using RunDigest = std::array<std::byte, 16>;
struct SegmentHeaderFields {
  std::uint64_t base_seq = 0;
  std::int64_t created_unix_ms = 0;
  RunDigest run_digest{};
};
// Nothing wrong: the fields. Else the reason.
struct SegmentHeaderCheck {
  SegmentHeaderFields fields;
  std::optional<std::string> fault;
};
SegmentHeaderCheck check_segment_header(std::span<const std::byte> bytes);
// Why a file is not the segment of its log that it is named after; `run_digest` is that of the segments before it, and set by the first one.
std::optional<std::string> find_header_fault(std::span<const std::byte> bytes, std::uint64_t base_seq, std::optional<RunDigest>& run_digest);
// Whether a file ends within its header, or holds nothing but zeros there: a crash right after it was made.
bool is_torn_header(std::span<const std::byte> file);
// "q-000000000000.seg"
std::string segment_name(std::uint64_t base_seq);

// An entry on its way to the disk. The frames share the bytes of their maker.
struct Block {
  BlockType type = BlockType::kRecord;
  std::uint64_t seq = 0;
  std::uint16_t num_frames = 1;
  std::array<Bytes, 2> frames;
  std::array<std::uint32_t, 2> frame_crc32c{};
  std::uint64_t total_bytes() const;
};

// Header and trailer as they stand in the file; the pieces between them are the frames and zeros.
struct BlockEnds {
  std::array<std::byte, kBlockHeaderBytes> header;
  std::array<std::byte, kTrailerBytes> trailer;
};
BlockEnds make_block_ends(const Block& block);
// The pieces of the block in the order of the file. `ends` and the block must outlive them.
std::vector<std::span<const std::byte>> pieces_of(const Block& block, const BlockEnds& ends);

// A block found in a file; frames are views of it.
struct FoundBlock {
  BlockType type = BlockType::kRecord;
  std::uint64_t seq = 0, total_bytes = 0;
  std::uint16_t num_frames = 1;
  std::array<std::span<const std::byte>, 2> frames;
  std::array<std::uint32_t, 2> frame_crc32c{};
};
enum class BlockState { kGood, kTorn, kCorrupt };
struct BlockCheck {
  BlockState state = BlockState::kGood;
  std::string reason;
  FoundBlock block;  // where it is not good: what its header says, if that is sound and the block fits; total_bytes is 0 otherwise
};
// Judges the block at `offset`, where `expected_seq` should stand. Lengths are believed only after the header's checksum and compared with the bytes that
// are there. Torn is what a write that was cut off leaves: the file ends early, or a sector of the last block was never written; all else is corrupt.
BlockCheck check_block(std::span<const std::byte> file, std::uint64_t offset, std::uint64_t expected_seq);
// The block at `offset` by its header and first frame alone, whose checksums fit; the second frame is not read. Nothing: it is not to be believed.
std::optional<FoundBlock> peek_block(std::span<const std::byte> file, std::uint64_t offset, std::uint64_t expected_seq);
struct BlockPlace {
  std::uint64_t offset = 0, seq = 0;
};
// The next block at or behind `offset` whose header is sound and whose number is at least min_seq.
std::optional<BlockPlace> find_block(std::span<const std::byte> file, std::uint64_t offset, std::uint64_t min_seq);
// The number in the header of the block at `offset`; nothing if that header is not sound.
std::optional<std::uint64_t> block_number(std::span<const std::byte> file, std::uint64_t offset);

}  // namespace nabla
