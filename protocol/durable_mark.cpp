#include "protocol/durable_mark.h"

#include "common/crc32c.h"
#include "common/error.h"
#include "protocol/byte_fields.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace nabla {

namespace {

using MarkBytes = std::array<std::byte, 16>;

std::string mark_path(const std::string& folder) { return folder + "/durable.mark"; }

struct flock whole_file() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

// Whether the open file is still the one of that name: its owner may have removed it between our opening and locking it.
bool is_current(int descriptor, const std::string& path) {
  struct stat opened {};
  struct stat named {};
  return ::fstat(descriptor, &opened) == 0 && ::stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

}  // namespace

DurableMark::DurableMark(const std::string& folder) : path_(mark_path(folder)) {
  while (true) {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor_ < 0) throw failure("[log] cannot make '{}': {}", path_, std::strerror(errno));
    struct flock lock = whole_file();
    // A file system without locks (some network ones) cannot tell; the log is then as safe as its user is careful.
    const bool taken = ::fcntl(descriptor_, F_OFD_SETLK, &lock) != 0 && (errno == EAGAIN || errno == EACCES);
    if (!taken && is_current(descriptor_, path_)) break;
    ::close(descriptor_);
    if (taken) throw failure("[log] another process appends to the log in '{}'; stop it first, or choose another run folder", folder);
  }
  set(0);
}

DurableMark::~DurableMark() {
  ::unlink(path_.c_str());
  ::close(descriptor_);
}

void DurableMark::set(std::uint64_t seq) {
  MarkBytes bytes{};
  put(bytes, 0, seq);
  put(bytes, 12, crc32c(std::span(bytes).first(12)));
  while (::pwrite(descriptor_, bytes.data(), bytes.size(), 0) < 0 && errno == EINTR) {
  }
}

LogProgress progress_of_log(const std::string& folder) {
  const int descriptor = ::open(mark_path(folder).c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return {};
  LogProgress progress;
  struct flock lock = whole_file();
  progress.live = ::fcntl(descriptor, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  MarkBytes bytes{};
  // Half a mark is none yet: the reader looks again.
  if (::pread(descriptor, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()) &&
      get<std::uint32_t>(bytes, 12) == crc32c(std::span(bytes).first(12)))
    progress.end_seq = get<std::uint64_t>(bytes, 0);
  ::close(descriptor);
  return progress;
}

}  // namespace nabla
