#pragma once

#include "tests/common/temporary_folder.h"

#include <sys/mount.h>
#include <sys/resource.h>

#include <sched.h>

#include <csignal>
#include <cstdint>
#include <exception>
#include <string>
#include <thread>

namespace nabla {

// Lets no file of this process grow beyond some bytes while it lives: a full disk for everybody.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::uint64_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int) = SIG_DFL;
};

// Mounts a file system of `bytes` on a folder, for this thread and those that it starts; false where that is not allowed.
inline bool mount_small_disk(const std::string& folder, std::uint64_t bytes) {
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  return mount("tmpfs", folder.c_str(), "tmpfs", 0, ("size=" + std::to_string(bytes)).c_str()) == 0;
}

// Runs body(folder) in a thread of its own, where the folder's disk holds only `bytes`. Where no disk can be mounted, no file may grow beyond `bytes`.
template <class Body>
void on_small_disk(std::uint64_t bytes, Body body) {
  const TemporaryFolder folder;
  std::exception_ptr error;
  std::thread thread([&] {
    try {
      if (mount_small_disk(folder.path(), bytes)) return body(folder.path());
      const FileSizeLimit limit(bytes);
      body(folder.path());
    } catch (...) {
      error = std::current_exception();
    }
  });
  thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace nabla
