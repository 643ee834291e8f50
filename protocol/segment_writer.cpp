#include "protocol/segment_writer.h"

#include "common/failpoint.h"
#include "common/files.h"
#include "common/log.h"
#include "common/mapped_file.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

namespace nabla {

namespace {

std::int64_t unix_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

bool means_full_disk(int code) { return code == ENOSPC || code == EDQUOT || code == EFBIG; }

SegmentError append_error(const std::string& path, int code) {
  if (means_full_disk(code)) {
    return {
        failure("[log] cannot append to '{}': the disk is full ({}); nothing of this entry is kept or acknowledged. Free some space and "
                "start again",
                path, std::strerror(code)),
        code};
  }
  return {failure("[log] cannot append to '{}': {}; nothing of this entry is kept or acknowledged", path, std::strerror(code)), code};
}

}  // namespace

bool SegmentError::is_full_disk() const { return means_full_disk(system_code); }

SegmentWriter::SegmentWriter(std::string path, int descriptor, Durability durability)
    : path_(std::move(path)), descriptor_(descriptor), durability_(durability) {}

SegmentWriter::~SegmentWriter() { ::close(descriptor_); }

SegmentError SegmentWriter::error(int code) const { return append_error(path_, code); }

std::unique_ptr<SegmentWriter> SegmentWriter::create(const std::string& folder, const std::string& run_id, std::uint64_t base_seq,
                                                     Durability durability) {
  const std::string path = (std::filesystem::path(folder) / segment_name(base_seq)).string();
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) throw append_error(path, errno);
  std::unique_ptr<SegmentWriter> writer(new SegmentWriter(path, descriptor, durability));
  try {
    writer->write_header(run_id, base_seq);
    if (durability == Durability::kFsync) sync_folder(folder);
  } catch (...) {
    ::unlink(path.c_str());
    throw;
  }
  return writer;
}

void SegmentWriter::write_header(const std::string& run_id, std::uint64_t base_seq) {
  const SegmentHeader header = make_segment_header(run_id, base_seq, unix_ms());
  write_pieces({header});
  digest_.update(header);
  summary_.base_seq = base_seq;
  bytes_ = header.size();
}

std::unique_ptr<SegmentWriter> SegmentWriter::reopen(const std::string& path, const Footer& kept, Durability durability) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (descriptor < 0) throw append_error(path, errno);
  std::unique_ptr<SegmentWriter> writer(new SegmentWriter(path, descriptor, durability));
  writer->digest_.update(MappedFile(path).bytes().first(kept.offset));
  writer->summary_ = kept.summary;
  writer->index_ = kept.index;
  writer->bytes_ = kept.offset;
  if (::ftruncate(descriptor, static_cast<off_t>(kept.offset)) != 0 || ::fdatasync(descriptor) != 0) throw writer->error(errno);
  return writer;
}

void SegmentWriter::write(std::span<EntryBlock* const> entries) {
  std::vector<BlockEnds> ends;
  ends.reserve(entries.size());
  std::vector<std::span<const std::byte>> pieces;
  std::uint64_t end = bytes_, seq = next_seq();
  for (EntryBlock* const entry : entries) {
    entry->block.seq = entry->index.seq = seq++;
    entry->index.type = entry->block.type;
    entry->index.offset = end;
    end += entry->block.total_bytes();
    ends.push_back(make_block_ends(entry->block));
    const auto of_entry = pieces_of(entry->block, ends.back());
    pieces.insert(pieces.end(), of_entry.begin(), of_entry.end());
  }
  append(pieces, Durability::kFsync);
  for (const auto& piece : pieces) digest_.update(piece);
  for (const EntryBlock* const entry : entries) {
    index_.push_back(entry->index);
    count_entry(summary_, entry->index);
  }
  bytes_ = end;
}

void SegmentWriter::seal() {
  failpoint("log.before_seal");
  SegmentSummary summary = summary_;
  summary.digest = digest_.hex();
  const Block footer = make_footer(summary, index_);
  const BlockEnds ends = make_block_ends(footer);
  append(pieces_of(footer, ends), Durability::kPageCache);
}

// Writes all pieces, and syncs the file at durability `least_synced` and above.
void SegmentWriter::append(const std::vector<std::span<const std::byte>>& pieces, Durability least_synced) {
  try {
    write_pieces(pieces);
    failpoint("log.before_sync");
    if (durability_ >= least_synced && ::fdatasync(descriptor_) != 0) {
      const int code = errno;
      if (!seeded_bug("log.retry_failed_sync") || ::fdatasync(descriptor_) != 0) throw error(code);
    }
  } catch (const SegmentError&) {
    cut_back();
    throw;
  }
}

void SegmentWriter::cut_back() {
  if (::ftruncate(descriptor_, static_cast<off_t>(bytes_)) != 0)
    log_warning("[log] cannot cut '{}' back to {} bytes: {}", path_, bytes_, std::strerror(errno));
}

// Writes all pieces, several a call.
void SegmentWriter::write_pieces(std::vector<std::span<const std::byte>> pieces) {
  std::size_t first = 0;
  while (first < pieces.size()) {
    std::array<iovec, 64> vectors;
    const std::size_t count = std::min(pieces.size() - first, failpoint_armed("log.mid_append") ? 1 : vectors.size());
    for (std::size_t i = 0; i < count; ++i) vectors[i] = {const_cast<std::byte*>(pieces[first + i].data()), pieces[first + i].size()};
    const ssize_t result = ::writev(descriptor_, vectors.data(), static_cast<int>(count));
    if (result < 0 && errno == EINTR) continue;
    if (result < 0) throw error(errno);
    failpoint("log.mid_append");
    if (seeded_bug("log.short_write_is_whole")) return;
    auto taken = static_cast<std::size_t>(result);
    while (first < pieces.size() && taken >= pieces[first].size()) taken -= pieces[first++].size();
    if (taken > 0) pieces[first] = pieces[first].subspan(taken);
  }
}

}  // namespace nabla
