#include "protocol/trajectory_log.h"

#include "common/error.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "protocol/durable_mark.h"
#include "protocol/log_recovery.h"
#include "protocol/segment_files.h"
#include "protocol/segment_writer.h"

#include <array>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <utility>

namespace nabla {

namespace {

// A group of entries shares one write and one sync.
constexpr std::size_t kMaxGroup = 16;
// What the memory level keeps back at most.
constexpr std::uint64_t kMaxHeldBytes = std::uint64_t{8} << 20;

struct Pending {
  EntryBlock entry;
  bool done = false;
};
using Group = std::vector<std::shared_ptr<Pending>>;

std::uint64_t bytes_of(const Group& group) {
  std::uint64_t bytes = 0;
  for (const auto& pending : group) bytes += pending->entry.block.total_bytes();
  return bytes;
}

void make_folder(const std::string& folder) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code) throw failure("[log] cannot make the folder '{}': {}", folder, code.message());
}

}  // namespace

struct TrajectoryLog::Impl {
  Impl(const TrajectoryLogOptions& log_options, const LogHeader& log_header, std::unique_ptr<DurableMark> durable_mark)
      : options(log_options), header(log_header), mark(std::move(durable_mark)) {}

  void append(std::shared_ptr<Pending> pending);
  void flush();
  void close();
  void open_segment();
  void begin_at(std::uint64_t seq);

  const TrajectoryLogOptions options;
  const LogHeader header;
  mutable std::mutex mutex;
  std::condition_variable written;
  Group queue;                           // guarded by mutex; in the order of their numbers
  std::uint64_t held_bytes = 0;          // guarded by mutex
  bool writing = false, closed = false;  // guarded by mutex
  std::string poison;                    // guarded by mutex: why no append can succeed any more

 private:
  bool may_wait() const;
  Group take_group();
  void write_group(std::unique_lock<std::mutex>& lock);
  void make_progress(std::unique_lock<std::mutex>& lock);
  void write_entries(const Group& group);
  void try_to_write(std::span<EntryBlock* const> entries);
  void seal_segment();

  // Used by the one thread that has set `writing`.
  std::unique_ptr<DurableMark> mark;
  std::unique_ptr<SegmentWriter> segment;
  std::uint64_t next_seq = 0;
};

// What stands before is durable.
void TrajectoryLog::Impl::begin_at(std::uint64_t seq) {
  next_seq = seq;
  mark->set(seq);
}

// Every segment begins with the log's header, so that it can be read when those before it are trimmed away.
void TrajectoryLog::Impl::open_segment() {
  auto opened = SegmentWriter::create(options.folder, header.run_id, next_seq, options.durability);
  EntryBlock first = block_of(header);
  const std::array<EntryBlock*, 1> entries{&first};
  opened->write(entries);
  segment = std::move(opened);
  begin_at(segment->next_seq());
}

// A full segment, or one that a write failed in. The footer can be missed where the entries are durable without it.
void TrajectoryLog::Impl::seal_segment() {
  const auto full = std::move(segment);
  try {
    full->seal();
  } catch (const SegmentError& error) {
    if (error.is_full_disk() || options.durability != Durability::kFsync) throw;
    log_warning("[log] '{}' stays without a footer: {}", full->path(), error.what());
  }
}

void TrajectoryLog::Impl::try_to_write(std::span<EntryBlock* const> entries) {
  segment->write(entries);
  begin_at(segment->next_seq());
}

// What a failed sync left on the disk is unknown, and another sync that succeeds says nothing about it: the entries go to a new segment.
void TrajectoryLog::Impl::write_entries(const Group& group) {
  std::vector<EntryBlock*> entries;
  for (const auto& pending : group) entries.push_back(&pending->entry);
  // The header alone is no reason to begin another segment.
  const bool is_full = segment && segment->num_entries() > 1 && segment->bytes() + bytes_of(group) > options.segment_bytes;
  if (is_full) seal_segment();
  if (!segment) open_segment();
  try {
    return try_to_write(entries);
  } catch (const SegmentError& error) {
    if (error.is_full_disk()) throw;
    log_warning("{}; it goes to a new segment", error.what());
  }
  seal_segment();
  open_segment();
  try_to_write(entries);
}

Group TrajectoryLog::Impl::take_group() {
  const auto count = static_cast<std::ptrdiff_t>(std::min(queue.size(), kMaxGroup));
  Group group(queue.begin(), queue.begin() + count);
  queue.erase(queue.begin(), queue.begin() + count);
  held_bytes -= bytes_of(group);
  return group;
}

// Writes a group without the lock; whoever appends meanwhile is in the next group.
void TrajectoryLog::Impl::write_group(std::unique_lock<std::mutex>& lock) {
  const Group group = take_group();
  writing = true;
  lock.unlock();
  std::string error;
  try {
    write_entries(group);
  } catch (const std::exception& caught) {
    if (!seeded_bug("log.ignore_full_disk")) error = caught.what();
  }
  lock.lock();
  writing = false;
  poison = error;
  for (const auto& pending : group) pending->done = error.empty();
  written.notify_all();
}

// The memory level keeps entries back until a group is worth a write.
bool TrajectoryLog::Impl::may_wait() const {
  return (options.durability == Durability::kMemory || seeded_bug("log.ack_before_append")) && queue.size() < kMaxGroup && held_bytes < kMaxHeldBytes;
}

// Writes the next group, or waits for the thread that is writing one.
void TrajectoryLog::Impl::make_progress(std::unique_lock<std::mutex>& lock) {
  if (!poison.empty()) throw failure("{}", poison);
  if (!writing) return write_group(lock);
  written.wait(lock);
}

void TrajectoryLog::Impl::append(std::shared_ptr<Pending> pending) {
  std::unique_lock lock(mutex);
  if (closed) throw failure("[log] '{}' is closed; nothing can be appended", options.folder);
  if (!poison.empty()) throw failure("{}", poison);
  held_bytes += pending->entry.block.total_bytes();
  queue.push_back(pending);
  if (may_wait()) return;
  while (!pending->done) make_progress(lock);
}

void TrajectoryLog::Impl::flush() {
  std::unique_lock lock(mutex);
  while (!queue.empty() || writing) make_progress(lock);
  if (!poison.empty()) throw failure("{}", poison);
}

void TrajectoryLog::Impl::close() {
  {
    const std::lock_guard lock(mutex);
    if (std::exchange(closed, true)) return;
  }
  flush();
  if (segment) std::exchange(segment, nullptr)->seal();
  mark.reset();
}

Durability durability_from_name(const std::string& name) {
  if (name == "memory") return Durability::kMemory;
  if (name == "pagecache") return Durability::kPageCache;
  if (name == "fsync") return Durability::kFsync;
  throw usage_error("[log] durability '{}' is not known; expected memory | pagecache | fsync", name);
}

TrajectoryLog::TrajectoryLog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

TrajectoryLog::~TrajectoryLog() {
  try {
    impl_->close();
  } catch (const std::exception& error) {
    log_warning("{}", error.what());
  }
}

std::unique_ptr<TrajectoryLog> TrajectoryLog::create(const TrajectoryLogOptions& options, const LogHeader& header) {
  make_folder(options.folder);
  if (const auto segments = find_segments(options.folder); !segments.empty()) {
    throw failure("[log] '{}' holds a trajectory log already ('{}'); choose another run folder", options.folder,
                  std::filesystem::path(segments.front().path).filename().string());
  }
  auto impl = std::make_unique<Impl>(options, header, std::make_unique<DurableMark>(options.folder));
  impl->open_segment();
  return std::unique_ptr<TrajectoryLog>(new TrajectoryLog(std::move(impl)));
}

ReopenedLog TrajectoryLog::reopen(const TrajectoryLogOptions& options, const LogHeader& header) {
  segments_of(options.folder);  // only where there is a log, anything is made
  auto mark = std::make_unique<DurableMark>(options.folder);
  LogRecovery recovery = recover_log(options.folder);
  const LogHeader& found = recovery.header;
  if (found.run_id != header.run_id || found.weights_contract != header.weights_contract) {
    throw data_error("[log] '{}' is the log of run {} with weights contract {}; this is run {} with {}", options.folder, found.run_id,
                     found.weights_contract, header.run_id, header.weights_contract);
  }
  auto impl = std::make_unique<Impl>(options, header, std::move(mark));
  impl->begin_at(recovery.next_seq);
  for (const auto& warning : recovery.warnings) log_warning("[log] {}", warning);
  return {std::unique_ptr<TrajectoryLog>(new TrajectoryLog(std::move(impl))), std::move(recovery)};
}

void TrajectoryLog::append(const LogEntry& entry) {
  if (std::holds_alternative<LogHeader>(entry)) throw failure("[log] the header of a log is written by the log itself");
  impl_->append(std::make_shared<Pending>(block_of(entry)));
}

void TrajectoryLog::close() { impl_->close(); }

}  // namespace nabla
