#include "tests/protocol/failing_disk.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>

namespace nabla {

namespace {

struct CallPlan {
  std::atomic<int> code{0}, calls{0}, first{0}, count{0};
};
std::array<CallPlan, 3> plans;
std::atomic<std::size_t> longest_write{0};  // 0: any
std::atomic<bool> syncs_are_free{false};

CallPlan& plan_of(DiskCall call) { return plans[static_cast<std::size_t>(call)]; }

// Counts a call; true with errno set if it is to fail.
bool fails(DiskCall call) {
  CallPlan& plan = plan_of(call);
  if (plan.code == 0) return false;
  const int number = plan.calls++;
  if (number < plan.first || number - plan.first >= plan.count) return false;
  errno = plan.code;
  return true;
}

struct Notes {
  std::mutex mutex;
  bool taken = false;                              // guarded by mutex
  std::map<ino_t, std::uintmax_t> bytes;           // guarded by mutex: of files, when they were last synced
  std::map<ino_t, std::set<std::string>> entries;  // guarded by mutex: of folders, when they were last synced
};
Notes notes;

ino_t inode_of(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

// After a sync that succeeded.
int note_sync(int descriptor, int result) {
  const std::lock_guard lock(notes.mutex);
  struct stat status {};
  if (result != 0 || !notes.taken || ::fstat(descriptor, &status) != 0) return result;
  if (!S_ISDIR(status.st_mode)) {
    notes.bytes[status.st_ino] = static_cast<std::uintmax_t>(status.st_size);
    return result;
  }
  auto& entries = notes.entries[status.st_ino];
  entries.clear();
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd/" + std::to_string(descriptor)))
    entries.insert(entry.path().filename().string());
  return result;
}

ssize_t write_shortened(int descriptor, const iovec* vectors, int count) {
  std::array<iovec, 64> pieces;
  std::size_t room = longest_write;
  int taken = 0;
  for (; taken < std::min(count, 64) && room > 0; ++taken) {
    const auto place = static_cast<std::size_t>(taken);
    pieces[place] = {vectors[place].iov_base, std::min(vectors[place].iov_len, room)};
    room -= pieces[place].iov_len;
  }
  return syscall(SYS_writev, descriptor, pieces.data(), taken);
}

}  // namespace

FailingCalls::FailingCalls(DiskCall call, int code, int first, int count) : call_(call) {
  CallPlan& plan = plan_of(call);
  plan.calls = 0;
  plan.first = first;
  plan.count = count;
  plan.code = code;
}
FailingCalls::~FailingCalls() { plan_of(call_).code = 0; }
int FailingCalls::calls() const { return plan_of(call_).calls; }

ShortWrites::ShortWrites(std::size_t bytes) { longest_write = bytes; }
ShortWrites::~ShortWrites() { longest_write = 0; }

FreeSyncs::FreeSyncs() { syncs_are_free = true; }
FreeSyncs::~FreeSyncs() { syncs_are_free = false; }

SyncNotes::SyncNotes() {
  const std::lock_guard lock(notes.mutex);
  notes.taken = true;
  notes.bytes.clear();
  notes.entries.clear();
}
SyncNotes::~SyncNotes() {
  const std::lock_guard lock(notes.mutex);
  notes.taken = false;
}
void SyncNotes::copy_durable(const std::string& folder, const std::string& target) const {
  const std::lock_guard lock(notes.mutex);
  std::filesystem::create_directories(target);
  for (const std::string& name : notes.entries[inode_of(folder)]) {
    const std::string from = folder + "/" + name, to = target + "/" + name;
    if (!std::filesystem::exists(from)) continue;
    std::filesystem::copy_file(from, to);
    const auto known = notes.bytes.find(inode_of(from));
    std::filesystem::resize_file(to, known == notes.bytes.end() ? 0 : known->second);
  }
}

}  // namespace nabla

// In the place of the C library's: the linker takes the program's own first.

extern "C" ssize_t writev(int descriptor, const iovec* vectors, int count) {
  if (nabla::fails(nabla::DiskCall::kWrite)) return -1;
  if (nabla::longest_write > 0) return nabla::write_shortened(descriptor, vectors, count);
  return syscall(SYS_writev, descriptor, vectors, count);
}

extern "C" int fdatasync(int descriptor) {
  if (nabla::fails(nabla::DiskCall::kSync)) return -1;
  return nabla::note_sync(descriptor, nabla::syncs_are_free ? 0 : static_cast<int>(syscall(SYS_fdatasync, descriptor)));
}

extern "C" int fsync(int descriptor) {
  if (nabla::fails(nabla::DiskCall::kSync)) return -1;
  return nabla::note_sync(descriptor, nabla::syncs_are_free ? 0 : static_cast<int>(syscall(SYS_fsync, descriptor)));
}

extern "C" int ftruncate(int descriptor, off_t length) noexcept {
  if (nabla::fails(nabla::DiskCall::kCut)) return -1;
  return static_cast<int>(syscall(SYS_ftruncate, descriptor, length));
}
