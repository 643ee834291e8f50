#include "protocol/trajectory_log.h"

#include "common/crc32c.h"
#include "common/digest.h"
#include "common/error.h"
#include "common/files.h"
#include "common/json_file.h"
#include "common/log.h"
#include "protocol/codec.h"
#include "protocol/log_format.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <utility>

namespace nabla {

namespace {

// A group of entries shares one write and one sync.
constexpr std::size_t kMaxGroup = 16;
// What the memory level keeps back at most.
constexpr std::uint64_t kMaxHeldBytes = std::uint64_t{8} << 20;

// An entry and what the footer's index will say of it.
struct Pending {
  Block block;
  IndexEntry index;
  std::int64_t version = -1;  // of a record
  bool done = false;
};

template <class Message>
Block block_of(BlockType type, const Message& message) {
  Block block;
  block.type = type;
  block.frames[0] = encode(message);
  block.frame_crc32c[0] = crc32c(block.frames[0].view);
  return block;
}

Block block_of(const LogHeader& header) {
  nlohmann::ordered_json json;
  json["run_id"] = header.run_id;
  json["weights_contract"] = header.weights_contract;
  json["config"] = header.config;
  const auto text = std::make_shared<std::string>(json.dump());
  Block block;
  block.type = BlockType::kHeader;
  block.frames[0] = {text, std::as_bytes(std::span(*text))};
  block.frame_crc32c[0] = crc32c(block.frames[0].view);
  return block;
}

Pending pending_of(const EncodedRecord& record) {
  RecordHeader header;
  const DecodeStatus status = decode(record.header.view, header);
  if (!status.ok) throw data_error("[log] a record that was not validated cannot be appended: its header {}", status.reason);
  Pending pending;
  pending.block = {BlockType::kRecord, 0, 2, {record.header, record.data}, {record.header_crc32c, record.data_crc32c}};
  pending.index.slot = header.slot;
  pending.index.kind = static_cast<std::uint16_t>(header.kind);
  pending.version = header.version;
  return pending;
}

Pending pending_of(const LogHeader& header) { return {block_of(header), {}, -1, false}; }
Pending pending_of(const PublishEntry& entry) { return {block_of(BlockType::kPublish, entry), {}, -1, false}; }
Pending pending_of(const TrainedEntry& entry) { return {block_of(BlockType::kTrained, entry), {}, -1, false}; }
Pending pending_of(const DiscardEntry& entry) {
  Pending pending{block_of(BlockType::kDiscard, entry), {}, -1, false};
  pending.index.slot = entry.slot;
  return pending;
}

std::int64_t unix_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

struct TrajectoryLog::Impl {
  Impl(const TrajectoryLogOptions& log_options, const LogHeader& log_header) : options(log_options), header(log_header) {}
  ~Impl() {
    if (descriptor >= 0) ::close(descriptor);
  }

  void append(std::shared_ptr<Pending> pending);
  void flush();
  void close();

  const TrajectoryLogOptions options;
  const LogHeader header;
  mutable std::mutex mutex;
  std::condition_variable written;
  std::vector<std::shared_ptr<Pending>> queue;  // guarded by mutex; in the order of their numbers
  std::uint64_t held_bytes = 0;                 // guarded by mutex
  std::uint64_t next_seq = 0;                   // guarded by mutex
  std::uint64_t total_written = 0;              // guarded by mutex
  bool writing = false, closed = false;         // guarded by mutex
  std::string poison;                           // guarded by mutex: why no append can succeed any more

 private:
  bool may_wait() const;
  void write_group(std::unique_lock<std::mutex>& lock);
  void write_entries(const std::vector<std::shared_ptr<Pending>>& group);
  void write_pieces(std::vector<std::span<const std::byte>> pieces);
  void open_segment(std::uint64_t base_seq);
  void seal_segment();
  void sync() const;
  void cut_back() const;
  Error write_error(int code) const;

  // Used by the one thread that has set `writing`.
  int descriptor = -1;
  std::string path;
  std::uint64_t offset = 0;  // written and kept
  Digest digest;
  SegmentSummary summary;
  std::vector<std::byte> index;
  std::uint64_t bytes_here = 0;  // of the group being written
};

Error TrajectoryLog::Impl::write_error(int code) const {
  if (code == ENOSPC || code == EDQUOT || code == EFBIG) {
    return failure(
        "[log] cannot append to '{}': the disk is full ({}); nothing of this entry is kept or acknowledged. Free some space and start "
        "again",
        path, std::strerror(code));
  }
  return failure("[log] cannot append to '{}': {}; nothing of this entry is kept or acknowledged", path, std::strerror(code));
}

// Writes all pieces, several a call.
void TrajectoryLog::Impl::write_pieces(std::vector<std::span<const std::byte>> pieces) {
  std::size_t first = 0;
  while (first < pieces.size()) {
    std::array<iovec, 64> vectors;
    const std::size_t count = std::min(pieces.size() - first, vectors.size());
    for (std::size_t i = 0; i < count; ++i) vectors[i] = {const_cast<std::byte*>(pieces[first + i].data()), pieces[first + i].size()};
    const ssize_t result = ::writev(descriptor, vectors.data(), static_cast<int>(count));
    if (result < 0 && errno == EINTR) continue;
    if (result < 0) throw write_error(errno);
    auto taken = static_cast<std::size_t>(result);
    bytes_here += taken;
    while (first < pieces.size() && taken >= pieces[first].size()) taken -= pieces[first++].size();
    if (taken > 0) pieces[first] = pieces[first].subspan(taken);
  }
}

void TrajectoryLog::Impl::sync() const {
  if (options.durability == Durability::kFsync && ::fdatasync(descriptor) != 0) throw write_error(errno);
}

// A write that failed half-way leaves no half entry where the disk allows it; a reader takes what is left as a torn tail.
void TrajectoryLog::Impl::cut_back() const {
  if (descriptor >= 0 && ::ftruncate(descriptor, static_cast<off_t>(offset)) != 0)
    log_warning("[log] cannot cut '{}' back to {} bytes", path, offset);
}

void TrajectoryLog::Impl::open_segment(std::uint64_t base_seq) {
  path = (std::filesystem::path(options.folder) / segment_name(base_seq)).string();
  offset = bytes_here = 0;
  descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) throw write_error(errno);
  const SegmentHeader segment = make_segment_header(header.run_id, base_seq, unix_ms());
  write_pieces({segment});
  digest = Digest();
  digest.update(segment);
  summary = {};
  summary.base_seq = base_seq;
  index.clear();
  offset = segment.size();
  if (options.durability == Durability::kFsync) sync_folder(options.folder);
}

void TrajectoryLog::Impl::seal_segment() {
  summary.digest = digest.hex();
  Block footer = block_of(BlockType::kFooter, summary);
  footer.seq = summary.base_seq + summary.num_entries;
  footer.num_frames = 2;
  const auto lines = std::make_shared<std::vector<std::byte>>(std::move(index));
  footer.frames[1] = {lines, *lines};
  footer.frame_crc32c[1] = crc32c(*lines);
  const BlockEnds ends = make_block_ends(footer);
  bytes_here = 0;
  write_pieces(pieces_of(footer, ends));
  if (options.durability != Durability::kMemory && ::fdatasync(descriptor) != 0) throw write_error(errno);
  ::close(descriptor);
  descriptor = -1;
}

void TrajectoryLog::Impl::write_entries(const std::vector<std::shared_ptr<Pending>>& group) {
  std::vector<BlockEnds> ends;
  ends.reserve(group.size());
  std::vector<std::span<const std::byte>> pieces;
  std::uint64_t end = offset;
  for (const auto& entry : group) {
    ends.push_back(make_block_ends(entry->block));
    const auto of_entry = pieces_of(entry->block, ends.back());
    pieces.insert(pieces.end(), of_entry.begin(), of_entry.end());
  }
  bytes_here = 0;
  write_pieces(pieces);
  sync();
  for (const auto& piece : pieces) digest.update(piece);
  for (const auto& entry : group) {
    entry->index.seq = entry->block.seq;
    entry->index.type = entry->block.type;
    entry->index.offset = end;
    append_index_entry(index, entry->index);
    end += entry->block.total_bytes();
    ++summary.num_entries;
    if (entry->block.type != BlockType::kRecord) continue;
    ++summary.num_records;
    summary.min_version = summary.min_version < 0 ? entry->version : std::min(summary.min_version, entry->version);
    summary.max_version = std::max(summary.max_version, entry->version);
  }
  offset = end;
}

// Takes a group from the queue and writes it without the lock; whoever appends meanwhile is in the next group.
void TrajectoryLog::Impl::write_group(std::unique_lock<std::mutex>& lock) {
  const auto count = static_cast<std::ptrdiff_t>(std::min(queue.size(), kMaxGroup));
  const std::vector<std::shared_ptr<Pending>> group(queue.begin(), queue.begin() + count);
  queue.erase(queue.begin(), queue.begin() + count);
  std::uint64_t bytes = 0;
  for (const auto& entry : group) bytes += entry->block.total_bytes();
  held_bytes -= bytes;
  writing = true;
  lock.unlock();
  std::string error;
  try {
    const bool is_full = descriptor >= 0 && summary.num_entries > 1 && offset + bytes > options.segment_bytes;
    if (is_full) seal_segment();
    if (descriptor < 0) open_segment(group.front()->block.seq);
    write_entries(group);
  } catch (const std::exception& caught) {
    error = caught.what();
    cut_back();
  }
  lock.lock();
  writing = false;
  if (!error.empty()) {
    poison = error;
  } else {
    total_written += bytes;
    for (const auto& entry : group) entry->done = true;
  }
  written.notify_all();
}

// The memory level keeps entries back until a group is worth a write.
bool TrajectoryLog::Impl::may_wait() const {
  return options.durability == Durability::kMemory && queue.size() < kMaxGroup && held_bytes < kMaxHeldBytes;
}

void TrajectoryLog::Impl::append(std::shared_ptr<Pending> pending) {
  std::unique_lock lock(mutex);
  if (closed) throw failure("[log] '{}' is closed; nothing can be appended", options.folder);
  if (!poison.empty()) throw failure("{}", poison);
  pending->block.seq = next_seq++;
  held_bytes += pending->block.total_bytes();
  queue.push_back(pending);
  if (may_wait()) return;
  while (!pending->done) {
    if (!poison.empty()) throw failure("{}", poison);
    if (writing) {
      written.wait(lock);
    } else {
      write_group(lock);
    }
  }
}

void TrajectoryLog::Impl::flush() {
  std::unique_lock lock(mutex);
  while (!queue.empty() || writing) {
    if (!poison.empty()) throw failure("{}", poison);
    if (writing) {
      written.wait(lock);
    } else {
      write_group(lock);
    }
  }
  if (!poison.empty()) throw failure("{}", poison);
}

void TrajectoryLog::Impl::close() {
  {
    const std::lock_guard lock(mutex);
    if (std::exchange(closed, true)) return;
  }
  flush();
  if (descriptor < 0) return;
  try {
    seal_segment();
  } catch (const Error&) {
    cut_back();
    throw;
  }
}

Durability durability_from_name(const std::string& name) {
  if (name == "memory") return Durability::kMemory;
  if (name == "pagecache") return Durability::kPageCache;
  if (name == "fsync") return Durability::kFsync;
  throw usage_error("[log] durability '{}' is not known; expected memory | pagecache | fsync", name);
}

TrajectoryLog::TrajectoryLog() = default;

TrajectoryLog::~TrajectoryLog() {
  if (!impl_) return;
  try {
    impl_->close();
  } catch (const std::exception& error) {
    log_warning("{}", error.what());
  }
}

std::unique_ptr<TrajectoryLog> TrajectoryLog::create(const TrajectoryLogOptions& options, const LogHeader& header) {
  std::error_code code;
  std::filesystem::create_directories(options.folder, code);
  if (code) throw failure("[log] cannot make the folder '{}': {}", options.folder, code.message());
  for (const auto& file : std::filesystem::directory_iterator(options.folder)) {
    if (file.path().extension() != ".seg") continue;
    throw failure("[log] '{}' holds a trajectory log already ('{}'); choose another run folder", options.folder,
                  file.path().filename().string());
  }
  std::unique_ptr<TrajectoryLog> log(new TrajectoryLog());
  log->impl_ = std::make_unique<Impl>(options, header);
  log->append(header);
  log->impl_->flush();
  return log;
}

void TrajectoryLog::append(const LogEntry& entry) {
  impl_->append(std::make_shared<Pending>(std::visit([](const auto& content) { return pending_of(content); }, entry)));
}

void TrajectoryLog::close() { impl_->close(); }

std::uint64_t TrajectoryLog::bytes_written() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->total_written;
}

}  // namespace nabla
