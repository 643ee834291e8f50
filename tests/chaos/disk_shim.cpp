// Preloaded into a learner (LD_PRELOAD): faults of the disk, for files below one folder. What is to go wrong stands in the environment:
//   NABLA_DISK_FOLDER  path whose files are meant
//   NABLA_DISK_FAULT   full:BYTES        no space is left once so many bytes were written there
//                      write_error:N     the Nth write fails with EIO
//                      sync_error:N      the Nth sync fails with EIO, and what was not durable by then never will be (as Linux does)
//                      short:BYTES       no write takes more than so many bytes
//   NABLA_DISK_MET     file that gets a line when the fault is met for the first time
//   NABLA_DISK_NOTES   file that gets one line for all that becomes durable, or is lost: what a power cut would leave (power_cut.h)
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>

namespace {

struct Plan {
  std::string folder, kind, notes, met;
  long number = 0;
};

const Plan& plan() {
  static const Plan the_plan = [] {
    const auto text = [](const char* name) { return std::string(std::getenv(name) == nullptr ? "" : std::getenv(name)); };
    Plan made{text("NABLA_DISK_FOLDER"), text("NABLA_DISK_FAULT"), text("NABLA_DISK_NOTES"), text("NABLA_DISK_MET")};
    if (const std::size_t colon = made.kind.find(':'); colon != std::string::npos) {
      made.number = std::atol(made.kind.c_str() + colon + 1);
      made.kind.erase(colon);
    }
    return made;
  }();
  return the_plan;
}

std::atomic<long> bytes_written{0}, writes{0}, syncs{0};

std::string joined(std::initializer_list<std::string> parts) {
  std::string text;
  for (const std::string& part : parts) text += part;
  return text;
}

// The path behind a descriptor if it is one of the folder's; else empty.
std::string meant_path(int descriptor) {
  std::array<char, PATH_MAX> path{};
  const std::string link = joined({"/proc/self/fd/", std::to_string(descriptor)});
  const ssize_t length = ::readlink(link.c_str(), path.data(), path.size() - 1);
  if (length <= 0 || plan().folder.empty()) return "";
  const std::string found(path.data(), static_cast<std::size_t>(length));
  return found.starts_with(plan().folder) ? found : "";
}

void add_line(const std::string& path, const std::string& line) {
  const int file = static_cast<int>(syscall(SYS_openat, AT_FDCWD, path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (file < 0) return;
  syscall(SYS_write, file, line.data(), line.size());
  syscall(SYS_close, file);
}

void note(const std::string& line) { add_line(plan().notes, line); }

void meet_fault() {
  static std::atomic<bool> met{false};
  if (!plan().met.empty() && !met.exchange(true)) add_line(plan().met, joined({"disk fault ", plan().kind, "\n"}));
}

// Durable bytes of each file, to know what a failed sync loses.
std::mutex durable_mutex;
std::map<std::string, long>& durable() {
  static std::map<std::string, long> bytes;
  return bytes;
}

int sync_with(int descriptor, long call) {
  const std::string path = meant_path(descriptor);
  if (path.empty()) return static_cast<int>(syscall(call, descriptor));
  struct stat status {};
  ::fstat(descriptor, &status);
  const bool fails = plan().kind == "sync_error" && !S_ISDIR(status.st_mode) && ++syncs == plan().number;
  const int result = fails ? -1 : static_cast<int>(syscall(call, descriptor));
  if (!plan().notes.empty()) {
    const std::lock_guard lock(durable_mutex);
    if (S_ISDIR(status.st_mode)) {
      std::string line = joined({"folder ", path});
      for (const auto& entry : std::filesystem::directory_iterator(path)) line += joined({" ", entry.path().filename().string()});
      note(joined({line, "\n"}));
    } else {
      if (fails) note(joined({"lost ", path, " ", std::to_string(durable()[path]), " ", std::to_string(status.st_size), "\n"}));
      if (!fails) note(joined({"file ", path, " ", std::to_string(status.st_size), "\n"}));
      durable()[path] = static_cast<long>(status.st_size);
    }
  }
  if (!fails) return result;
  meet_fault();
  errno = EIO;
  return result;
}

}  // namespace

extern "C" ssize_t writev(int descriptor, const iovec* vectors, int count) {
  if (plan().kind.empty() || meant_path(descriptor).empty()) return syscall(SYS_writev, descriptor, vectors, count);
  if (plan().kind == "write_error" && ++writes == plan().number) {
    meet_fault();
    errno = EIO;
    return -1;
  }
  long room = LONG_MAX;
  if (plan().kind == "full") room = plan().number - bytes_written;
  if (plan().kind == "short") room = plan().number;
  if (room <= 0) {
    meet_fault();
    errno = ENOSPC;
    return -1;
  }
  std::array<iovec, 64> pieces;
  int taken = 0;
  for (; taken < std::min(count, 64) && room > 0; ++taken) {
    auto& piece = pieces[static_cast<std::size_t>(taken)];
    piece = {vectors[taken].iov_base, std::min(vectors[taken].iov_len, static_cast<std::size_t>(room))};
    room -= static_cast<long>(piece.iov_len);
    if (piece.iov_len < vectors[taken].iov_len) meet_fault();
  }
  const ssize_t result = syscall(SYS_writev, descriptor, pieces.data(), taken);
  if (result > 0) bytes_written += result;
  return result;
}

// What is written behind the cut is not what a failed sync lost.
extern "C" int ftruncate(int descriptor, off_t length) noexcept {
  const int result = static_cast<int>(syscall(SYS_ftruncate, descriptor, length));
  const std::string path = result == 0 && !plan().notes.empty() ? meant_path(descriptor) : "";
  if (!path.empty()) note(joined({"cut ", path, " ", std::to_string(length), "\n"}));
  return result;
}

extern "C" int fdatasync(int descriptor) { return sync_with(descriptor, SYS_fdatasync); }
extern "C" int fsync(int descriptor) { return sync_with(descriptor, SYS_fsync); }
