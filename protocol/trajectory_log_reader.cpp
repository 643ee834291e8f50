#include "common/error.h"
#include "common/json_file.h"
#include "protocol/codec.h"
#include "protocol/log_format.h"
#include "protocol/trajectory_log.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace nabla {

namespace {

// A whole file in memory; lives as long as a record of it.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) throw data_error("[log] cannot open '{}': {}", path, std::strerror(errno));
    struct stat status {};
    const bool known = ::fstat(descriptor, &status) == 0;
    size_ = known ? static_cast<std::size_t>(status.st_size) : 0;
    void* memory = size_ == 0 ? nullptr : ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    const int code = errno;
    ::close(descriptor);
    if (!known || memory == MAP_FAILED) throw data_error("[log] cannot read '{}': {}", path, std::strerror(code));
    data_ = static_cast<const std::byte*>(memory);
  }
  ~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

std::vector<std::string> segments_in(const std::string& folder) {
  std::error_code code;
  std::vector<std::string> paths;
  for (const auto& file : std::filesystem::directory_iterator(folder, code)) {
    if (file.path().extension() == ".seg") paths.push_back(file.path().string());
  }
  if (code) throw data_error("[log] cannot read the folder '{}': {}", folder, code.message());
  if (paths.empty()) throw data_error("[log] '{}' holds no trajectory log (no q-*.seg)", folder);
  std::ranges::sort(paths);
  return paths;
}

}  // namespace

struct TrajectoryLogReader::Impl {
  explicit Impl(const std::string& log_folder) : folder(log_folder), paths(segments_in(log_folder)) {}

  std::optional<LogEntry> next();

  const std::string folder;
  const std::vector<std::string> paths;
  std::vector<std::string> warnings;

 private:
  bool is_last() const { return segment_ + 1 == paths.size(); }
  const std::string& path() const { return paths[segment_]; }
  Error damage(const std::string& reason) const;
  void stop_at_torn_tail(const std::string& reason);
  bool open_segment();
  void finish_segment(const FoundBlock* footer);
  void check_footer(const FoundBlock& footer) const;
  LogHeader header_of(const nlohmann::ordered_json& json) const;
  LogEntry entry_of(const FoundBlock& block) const;
  template <class Message>
  Message message_of(const FoundBlock& block, const CodecLimits& limits = {}) const;

  std::size_t segment_ = 0;  // index in paths
  std::shared_ptr<MappedFile> file_;
  std::uint64_t offset_ = 0, expected_seq_ = 0, base_seq_ = 0;
  std::array<std::byte, 16> run_digest_{};
  bool ended_ = false;
};

Error TrajectoryLogReader::Impl::damage(const std::string& reason) const {
  return data_error("[log] '{}' is damaged at byte {}: {}. Take the file from a copy, or move it and what follows it away", path(), offset_,
                    reason);
}

void TrajectoryLogReader::Impl::stop_at_torn_tail(const std::string& reason) {
  if (!is_last()) throw damage(reason);
  warnings.push_back(fmt::format("'{}' ends in a torn entry at byte {} ({}); what stands before it was read", path(), offset_, reason));
  ended_ = true;
}

// Maps the next segment; false if a crash left only a beginning of its header.
bool TrajectoryLogReader::Impl::open_segment() {
  file_ = std::make_shared<MappedFile>(path());
  offset_ = 0;
  if (file_->bytes().size() < kSegmentHeaderBytes && is_last() && segment_ > 0) {
    stop_at_torn_tail("the file ends within its header");
    return false;
  }
  const SegmentHeaderCheck check = check_segment_header(file_->bytes());
  if (check.fault) throw damage(*check.fault);
  if (segment_ == 0) {
    run_digest_ = check.fields.run_digest;
    expected_seq_ = check.fields.base_seq;
  }
  if (check.fields.run_digest != run_digest_) throw damage("it belongs to another run than the segments before it");
  if (check.fields.base_seq != expected_seq_) {
    throw damage(
        fmt::format("it starts with entry {} where entry {} is expected; a segment is missing", check.fields.base_seq, expected_seq_));
  }
  base_seq_ = expected_seq_;
  offset_ = kSegmentHeaderBytes;
  return true;
}

void TrajectoryLogReader::Impl::check_footer(const FoundBlock& footer) const {
  const auto summary = message_of<SegmentSummary>(footer);
  const std::uint64_t num_entries = expected_seq_ - base_seq_;
  if (summary.base_seq != base_seq_ || summary.num_entries != num_entries || footer.frames[1].size() != num_entries * kIndexEntryBytes) {
    throw damage(fmt::format("its footer counts {} entries from {}, {} stand from {}", summary.num_entries, summary.base_seq, num_entries,
                             base_seq_));
  }
  if (offset_ + footer.total_bytes != file_->bytes().size()) throw damage("bytes follow the footer");
}

// The end of a segment: with a footer, or without one where the log was not closed.
void TrajectoryLogReader::Impl::finish_segment(const FoundBlock* footer) {
  if (footer != nullptr) check_footer(*footer);
  if (footer == nullptr && !is_last()) throw damage("the segment ends without a footer although another one follows");
  file_.reset();
  ended_ = is_last();
  ++segment_;
}

template <class Message>
Message TrajectoryLogReader::Impl::message_of(const FoundBlock& block, const CodecLimits& limits) const {
  Message message;
  const DecodeStatus status = decode(block.frames[0], message, limits);
  if (!status.ok) throw damage(fmt::format("entry {} {}", block.seq, status.reason));
  return message;
}

LogHeader TrajectoryLogReader::Impl::header_of(const nlohmann::ordered_json& json) const {
  try {
    return {json.at("run_id").get<std::string>(), json.at("weights_contract").get<std::string>(), json.at("config").get<std::string>()};
  } catch (const nlohmann::json::exception& error) {
    throw damage(fmt::format("the header entry is not one ({})", error.what()));
  }
}

LogEntry TrajectoryLogReader::Impl::entry_of(const FoundBlock& block) const {
  switch (block.type) {
    case BlockType::kHeader: {
      const auto text = block.frames[0];
      const auto json =
          parse_json({reinterpret_cast<const char*>(text.data()), text.size()}, fmt::format("the header entry of '{}'", path()));
      return header_of(json);
    }
    case BlockType::kRecord:
      if (block.num_frames != 2) throw damage(fmt::format("record {} has {} frames instead of 2", block.seq, block.num_frames));
      return EncodedRecord{{file_, block.frames[0]}, {file_, block.frames[1]}, block.frame_crc32c[0], block.frame_crc32c[1]};
    case BlockType::kPublish:
      return message_of<PublishEntry>(block);
    case BlockType::kDiscard:
      return message_of<DiscardEntry>(block);
    case BlockType::kTrained:
      return message_of<TrainedEntry>(block, kTrainedLimits);
    case BlockType::kFooter:
      break;
  }
  throw damage(fmt::format("entry {} has the unknown type {}", block.seq, static_cast<int>(block.type)));
}

std::optional<LogEntry> TrajectoryLogReader::Impl::next() {
  while (!ended_) {
    if (!file_ && !open_segment()) break;
    if (offset_ == file_->bytes().size()) {
      finish_segment(nullptr);
      continue;
    }
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
    if ((check.block.type == BlockType::kHeader) != (expected_seq_ == 0)) throw damage("the log does not start with its one header entry");
    LogEntry entry = entry_of(check.block);
    offset_ += check.block.total_bytes;
    ++expected_seq_;
    return entry;
  }
  return std::nullopt;
}

TrajectoryLogReader::TrajectoryLogReader(const std::string& folder) : impl_(std::make_unique<Impl>(folder)) {}

TrajectoryLogReader::~TrajectoryLogReader() = default;

std::optional<LogEntry> TrajectoryLogReader::next() { return impl_->next(); }

const std::vector<std::string>& TrajectoryLogReader::warnings() const { return impl_->warnings; }

}  // namespace nabla
