#include "common/files.h"

#include "common/error.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>

namespace nabla {

namespace {

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

Error write_failure(const std::string& path, int code) {
  if (code == ENOSPC || code == EDQUOT)
    return failure("[files] cannot write '{}': the disk is full ({}); free some space and start again", path, std::strerror(code));
  return failure("[files] cannot write '{}': {}", path, std::strerror(code));
}

}  // namespace

void write_all(int descriptor, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw write_failure(path, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void sync_folder(const std::string& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw write_failure(folder, errno);
  const int result = ::fsync(descriptor);
  const int code = errno;
  ::close(descriptor);
  // Some network file systems cannot sync a folder and say EINVAL.
  if (result != 0 && code != EINVAL) throw write_failure(folder, code);
}

AtomicFile::AtomicFile(const std::string& path, unsigned mode) : path_(path), temporary_path_(path + ".tmp." + std::to_string(::getpid())) {
  descriptor_ = ::open(temporary_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, static_cast<mode_t>(mode));
  if (descriptor_ < 0) throw write_failure(path_, errno);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_path_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) { write_all(descriptor_, bytes, path_); }

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) throw write_failure(path_, errno);
  if (::rename(temporary_path_.c_str(), path_.c_str()) != 0) throw write_failure(path_, errno);
  ::close(descriptor_);
  descriptor_ = -1;
  sync_folder(folder_of(path_));
}

std::string bare_path(const std::string& folder) {
  std::filesystem::path path(folder);
  while (path.has_relative_path() && path.has_parent_path() && (!path.has_filename() || path.filename() == ".")) path = path.parent_path();
  return path.string();
}

AtomicFolder::AtomicFolder(const std::string& path, const std::string& ending)
    : path_(bare_path(path)), temporary_path_(path_ + ending) {
  if (::mkdir(temporary_path_.c_str(), 0777) != 0) throw write_failure(temporary_path_, errno);
}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!committed_) std::filesystem::remove_all(temporary_path_, ignored);
}

void AtomicFolder::commit() {
  if (::rename(temporary_path_.c_str(), path_.c_str()) != 0) throw write_failure(path_, errno);
  committed_ = true;
  sync_folder(folder_of(path_));
}

void write_file(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

void write_private_file(const std::string& path, std::string_view content) {
  AtomicFile file(path, 0600);
  file.write(content);
  file.commit();
}

std::string read_file(const std::string& path, std::size_t max_bytes) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw data_error("[files] cannot open '{}': {}", path, std::strerror(errno));
  struct Closer {
    int descriptor;
    ~Closer() { ::close(descriptor); }
  } closer{descriptor};
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw data_error("[files] cannot read '{}': {}", path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw data_error("[files] '{}' is not a regular file", path);
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > max_bytes) throw data_error("[files] '{}' has {} bytes; at most {} are expected of such a file", path, size, max_bytes);
  std::string content(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = ::read(descriptor, content.data() + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw data_error("[files] cannot read '{}': {}", path, std::strerror(errno));
    if (count == 0) break;  // shortened while being read
    done += static_cast<std::size_t>(count);
  }
  content.resize(done);
  return content;
}

std::string make_short_id() {
  std::uint32_t value = 0;
  if (::getrandom(&value, sizeof value, 0) != sizeof value)
    throw failure("[files] the kernel gave no random numbers: {}", std::strerror(errno));
  return fmt::format("{:08x}", value);
}

std::string make_run_id() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &parts);
  return std::string(text) + "-" + make_short_id();
}

}  // namespace nabla
