#include "learner/checkpoint/disk_reserve.h"

#include "common/error.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace nabla {

namespace {

// 0, or the system's reason.
int allocate(const std::string& path, std::uint64_t bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return errno;
  const int code = ::posix_fallocate(file, 0, static_cast<off_t>(bytes));
  ::close(file);
  return code;
}

}  // namespace

void DiskReserve::hold(std::uint64_t bytes) {
  if (bytes <= bytes_) return;
  std::error_code folder;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), folder);
  const int code = folder ? folder.value() : allocate(path_, bytes);
  if (code == 0) {
    bytes_ = bytes;
    return;
  }
  if (bytes_ == 0 || ::truncate(path_.c_str(), static_cast<off_t>(bytes_)) != 0) release();
  throw failure("[checkpoint] '{}' cannot take {} bytes: {}", path_, bytes, std::strerror(code));
}

void DiskReserve::release() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
  bytes_ = 0;
}

}  // namespace nabla
