#pragma once

#include <cstddef>
#include <string>

namespace nabla {

// Faults of the system calls that a log is written with. They hit the whole process, so nothing else should write meanwhile.
enum class DiskCall { kWrite, kSync, kCut };  // writev; fsync and fdatasync; ftruncate

// While it lives, the calls of one kind from number `first` on fail, `count` of them.
class FailingCalls {
 public:
  FailingCalls(DiskCall call, int code, int first = 0, int count = 1);
  ~FailingCalls();
  FailingCalls(const FailingCalls&) = delete;
  FailingCalls& operator=(const FailingCalls&) = delete;
  // Calls of the kind so far.
  int calls() const;

 private:
  DiskCall call_;
};

// While it lives, no write takes more than `bytes`.
class ShortWrites {
 public:
  explicit ShortWrites(std::size_t bytes);
  ~ShortWrites();
  ShortWrites(const ShortWrites&) = delete;
  ShortWrites& operator=(const ShortWrites&) = delete;
};

// While it lives, syncs return at once, so that a test may do thousands.
class FreeSyncs {
 public:
  FreeSyncs();
  ~FreeSyncs();
  FreeSyncs(const FreeSyncs&) = delete;
  FreeSyncs& operator=(const FreeSyncs&) = delete;
};

// While it lives, it notes what is synced: what a machine that loses power would still have.
class SyncNotes {
 public:
  SyncNotes();
  ~SyncNotes();
  SyncNotes(const SyncNotes&) = delete;
  SyncNotes& operator=(const SyncNotes&) = delete;
  // Copies to `target` what would be left of a folder: the files that it had when it was last synced, with the bytes that they had when they were.
  void copy_durable(const std::string& folder, const std::string& target) const;
};

}  // namespace nabla
