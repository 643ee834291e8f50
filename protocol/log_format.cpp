#include "protocol/log_format.h"

#include "common/crc32c.h"
#include "common/digest.h"
#include "protocol/byte_fields.h"
#include "protocol/message_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace nabla {

static_assert(std::endian::native == std::endian::little, "the log is little-endian and written as it stands in memory");

namespace {

constexpr std::array<char, 8> kSegmentMagic{'N', 'A', 'B', 'L', 'A', 'S', 'E', 'G'};
constexpr std::uint32_t kLogVersion = 1;
constexpr std::uint32_t kEndianMark = 0x01020304;
constexpr std::uint32_t kBlockMagic = 0x4C424E4E;  // "NNBL"
constexpr std::size_t kSectorBytes = 512;
constexpr std::size_t kFrameTable = 28;  // bytes before it in a block header
constexpr std::size_t kFrameLine = 12;

std::uint64_t align_block(std::uint64_t size) { return (size + kBlockAlignment - 1) / kBlockAlignment * kBlockAlignment; }

std::uint32_t header_length(std::uint16_t num_frames) { return static_cast<std::uint32_t>(kFrameTable + kFrameLine * num_frames + 4); }

std::array<std::byte, 16> short_digest(std::string_view text) {
  const std::string hex = Digest().update(text).hex();
  std::array<std::byte, 16> digest;
  for (std::size_t i = 0; i < digest.size(); ++i) digest[i] = static_cast<std::byte>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  return digest;
}

// Names of all fields of the stored messages: a build that knows other fields cannot read the segment, and says so.
struct FieldLister {
  template <class T>
  void operator()(const char* name, const T&, std::size_t = 0) {
    names += name;
    names += ',';
  }
  template <class Message>
  void list() {
    const Message message{};
    describe(*this, message);
  }
  std::string names;
};

std::uint64_t schema_digest() {
  FieldLister lister;
  lister.list<RecordHeader>();
  lister.list<TransitionRef>();
  lister.list<TensorEntry>();
  lister.list<PublishEntry>();
  lister.list<DiscardEntry>();
  lister.list<TrainedEntry>();
  lister.list<SegmentSummary>();
  return get<std::uint64_t>(short_digest(lister.names), 0);
}

bool is_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

// Whether a part of a sector within [begin, end) of the file is all zeros: storage writes sectors whole, so such a part was never written.
bool has_unwritten_sector(std::span<const std::byte> file, std::uint64_t begin, std::uint64_t end) {
  while (begin < end) {
    const std::uint64_t sector_end = std::min<std::uint64_t>(end, (begin / kSectorBytes + 1) * kSectorBytes);
    if (is_zero(file.subspan(begin, sector_end - begin))) return true;
    begin = sector_end;
  }
  return false;
}

// The header of a block, believed only if its checksum fits.
std::optional<FoundBlock> read_header(std::span<const std::byte> bytes) {
  if (bytes.size() < kBlockHeaderBytes || get<std::uint32_t>(bytes, 0) != kBlockMagic) return std::nullopt;
  FoundBlock block;
  block.num_frames = get<std::uint16_t>(bytes, 26);
  if (block.num_frames < 1 || block.num_frames > 2) return std::nullopt;
  const std::uint32_t length = header_length(block.num_frames);
  if (get<std::uint32_t>(bytes, 4) != length || !is_zero(bytes.subspan(length, kBlockHeaderBytes - length))) return std::nullopt;
  if (get<std::uint32_t>(bytes, length - 4) != crc32c(bytes.first(length - 4))) return std::nullopt;
  block.total_bytes = get<std::uint64_t>(bytes, 8);
  block.seq = get<std::uint64_t>(bytes, 16);
  block.type = static_cast<BlockType>(get<std::uint16_t>(bytes, 24));
  return block;
}

// Sets the views of the frames; the fault if the lengths do not add up to the block's.
std::optional<std::string> find_frames(std::span<const std::byte> bytes, FoundBlock& block) {
  std::uint64_t end = kBlockHeaderBytes;
  for (std::size_t i = 0; i < block.num_frames; ++i) {
    const auto length = get<std::uint64_t>(bytes, kFrameTable + kFrameLine * i);
    block.frame_crc32c[i] = get<std::uint32_t>(bytes, kFrameTable + kFrameLine * i + 8);
    const std::uint64_t begin = align_block(end);
    if (begin > bytes.size() || length > bytes.size() - begin) return "a frame is longer than its block";
    block.frames[i] = bytes.subspan(begin, length);
    if (!is_zero(bytes.subspan(end, begin - end))) return "the padding before a frame is not zero";
    end = begin + length;
  }
  if (align_block(end + kTrailerBytes) != bytes.size()) return "the frames do not fill their block";
  if (!is_zero(bytes.subspan(end, bytes.size() - kTrailerBytes - end))) return "the padding behind the frames is not zero";
  return std::nullopt;
}

std::optional<std::string> find_content_fault(std::span<const std::byte> bytes, FoundBlock& block) {
  if (auto fault = find_frames(bytes, block)) return fault;
  for (std::size_t i = 0; i < block.num_frames; ++i) {
    if (crc32c(block.frames[i]) != block.frame_crc32c[i]) return fmt::format("the CRC32C of frame {} does not fit", i);
  }
  const auto trailer = bytes.last(kTrailerBytes);
  const bool sound = get<std::uint64_t>(trailer, 0) == block.total_bytes && get<std::uint32_t>(trailer, 8) == ~kBlockMagic &&
                     get<std::uint32_t>(trailer, 12) == crc32c(trailer.first(12));
  if (!sound) return "the trailer does not fit";
  return std::nullopt;
}

}  // namespace

SegmentHeader make_segment_header(const std::string& run_id, std::uint64_t base_seq, std::int64_t created_unix_ms) {
  SegmentHeader header{};
  std::memcpy(header.data(), kSegmentMagic.data(), kSegmentMagic.size());
  put(header, 8, kLogVersion);
  put(header, 12, kEndianMark);
  put(header, 16, base_seq);
  put(header, 24, created_unix_ms);
  put(header, 32, short_digest(run_id));
  put(header, 48, schema_digest());
  put(header, 60, crc32c(std::span(header).first(60)));
  return header;
}

SegmentHeaderCheck check_segment_header(std::span<const std::byte> bytes) {
  if (bytes.size() < kSegmentHeaderBytes)
    return {{}, fmt::format("it has {} bytes, a segment starts with {}", bytes.size(), kSegmentHeaderBytes)};
  if (std::memcmp(bytes.data(), kSegmentMagic.data(), kSegmentMagic.size()) != 0) return {{}, "it is not a segment of a trajectory log"};
  if (get<std::uint32_t>(bytes, 60) != crc32c(bytes.first(60))) return {{}, "the checksum of its header does not fit"};
  const auto version = get<std::uint32_t>(bytes, 8);
  if (version != kLogVersion) return {{}, fmt::format("it is of log version {}, this program reads {}", version, kLogVersion)};
  if (get<std::uint32_t>(bytes, 12) != kEndianMark) return {{}, "it was written on a machine of the other byte order"};
  if (get<std::uint64_t>(bytes, 48) != schema_digest())
    return {{}, "its records have other fields than this program knows; use the release that wrote it"};
  SegmentHeaderCheck check;
  check.fields.base_seq = get<std::uint64_t>(bytes, 16);
  check.fields.created_unix_ms = get<std::int64_t>(bytes, 24);
  check.fields.run_digest = get<RunDigest>(bytes, 32);
  return check;
}

std::optional<std::string> find_header_fault(std::span<const std::byte> bytes, std::uint64_t base_seq,
                                             std::optional<RunDigest>& run_digest) {
  const SegmentHeaderCheck check = check_segment_header(bytes);
  if (check.fault) return check.fault;
  if (!run_digest) run_digest = check.fields.run_digest;
  if (check.fields.run_digest != *run_digest) return "it belongs to another run than the segments before it";
  if (check.fields.base_seq != base_seq) return fmt::format("its header says that it starts with entry {}", check.fields.base_seq);
  return std::nullopt;
}

bool is_torn_header(std::span<const std::byte> file) {
  return file.size() < kSegmentHeaderBytes || is_zero(file.first(kSegmentHeaderBytes));
}

std::string segment_name(std::uint64_t base_seq) { return fmt::format("q-{:012}.seg", base_seq); }

std::uint64_t Block::total_bytes() const {
  std::uint64_t end = kBlockHeaderBytes;
  for (std::size_t i = 0; i < num_frames; ++i) end = align_block(end) + frames[i].view.size();
  return align_block(end + kTrailerBytes);
}

BlockEnds make_block_ends(const Block& block) {
  BlockEnds ends{};
  const std::span<std::byte> header(ends.header), trailer(ends.trailer);
  const std::uint32_t length = header_length(block.num_frames);
  put(header, 0, kBlockMagic);
  put(header, 4, length);
  put(header, 8, block.total_bytes());
  put(header, 16, block.seq);
  put(header, 24, static_cast<std::uint16_t>(block.type));
  put(header, 26, block.num_frames);
  for (std::size_t i = 0; i < block.num_frames; ++i) {
    put(header, kFrameTable + kFrameLine * i, static_cast<std::uint64_t>(block.frames[i].view.size()));
    put(header, kFrameTable + kFrameLine * i + 8, block.frame_crc32c[i]);
  }
  put(header, length - 4, crc32c(header.first(length - 4)));
  put(trailer, 0, block.total_bytes());
  put(trailer, 8, ~kBlockMagic);
  put(trailer, 12, crc32c(trailer.first(12)));
  return ends;
}

std::vector<std::span<const std::byte>> pieces_of(const Block& block, const BlockEnds& ends) {
  static constexpr std::array<std::byte, 2 * kBlockAlignment> kZeros{};
  std::vector<std::span<const std::byte>> pieces{ends.header};
  std::uint64_t end = kBlockHeaderBytes;
  for (std::size_t i = 0; i < block.num_frames; ++i) {
    const std::uint64_t begin = align_block(end);
    pieces.push_back(std::span(kZeros).first(begin - end));
    pieces.push_back(block.frames[i].view);
    end = begin + block.frames[i].view.size();
  }
  pieces.push_back(std::span(kZeros).first(block.total_bytes() - kTrailerBytes - end));
  pieces.push_back(ends.trailer);
  std::erase_if(pieces, [](const auto& piece) { return piece.empty(); });
  return pieces;
}

BlockCheck check_block(std::span<const std::byte> file, std::uint64_t offset, std::uint64_t expected_seq) {
  const auto rest = file.subspan(offset);
  if (rest.size() < kBlockHeaderBytes) return {BlockState::kTorn, fmt::format("the file ends after {} bytes of an entry", rest.size()), {}};
  auto block = read_header(rest);
  if (!block) {
    // Behind a torn tail stands no later block.
    const bool torn = has_unwritten_sector(file, offset, file.size()) && !find_block(file, offset + kBlockAlignment, expected_seq + 1);
    return {torn ? BlockState::kTorn : BlockState::kCorrupt, "the header of an entry is damaged", {}};
  }
  const bool fits = block->total_bytes <= rest.size();
  const bool has_length = block->total_bytes % kBlockAlignment == 0 && block->total_bytes >= 2 * kBlockHeaderBytes;
  if (block->seq != expected_seq) {
    std::string reason = fmt::format("entry {} stands where entry {} is expected", block->seq, expected_seq);
    return {BlockState::kCorrupt, std::move(reason), fits && has_length ? *block : FoundBlock{}};
  }
  if (!fits)
    return {BlockState::kTorn, fmt::format("the file ends after {} of the {} bytes of an entry", rest.size(), block->total_bytes), {}};
  if (!has_length) return {BlockState::kCorrupt, "the length of an entry is no length", {}};
  if (auto fault = find_content_fault(rest.first(block->total_bytes), *block)) {
    const bool is_last = block->total_bytes == rest.size();
    const bool torn = is_last && has_unwritten_sector(file, offset, file.size());
    return {torn ? BlockState::kTorn : BlockState::kCorrupt, *fault, *block};
  }
  return {BlockState::kGood, "", *block};
}

std::optional<FoundBlock> peek_block(std::span<const std::byte> file, std::uint64_t offset, std::uint64_t expected_seq) {
  if (offset > file.size()) return std::nullopt;
  const auto rest = file.subspan(offset);
  auto block = read_header(rest);
  if (!block || block->seq != expected_seq || block->total_bytes > rest.size() || block->total_bytes < 2 * kBlockHeaderBytes)
    return std::nullopt;
  if (find_frames(rest.first(block->total_bytes), *block) || crc32c(block->frames[0]) != block->frame_crc32c[0]) return std::nullopt;
  return block;
}

std::optional<BlockPlace> find_block(std::span<const std::byte> file, std::uint64_t offset, std::uint64_t min_seq) {
  for (; offset < file.size(); offset += kBlockAlignment) {
    const auto seq = block_number(file, offset);
    if (seq && *seq >= min_seq) return BlockPlace{offset, *seq};
  }
  return std::nullopt;
}

std::optional<std::uint64_t> block_number(std::span<const std::byte> file, std::uint64_t offset) {
  if (offset > file.size()) return std::nullopt;
  const auto block = read_header(file.subspan(offset));
  return block ? std::optional(block->seq) : std::nullopt;
}

}  // namespace nabla
