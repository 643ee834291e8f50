#pragma once

#include <cstdint>
#include <string>

namespace nabla {

// The file of a log's folder that says how far the log is durable while a process appends to it (WIRE_FORMAT.md, "Mark"). That process holds a lock on
// it, so that there is only one; the file goes when the log is closed and stays when the process is killed.
class DurableMark {
 public:
  // failure naming the folder if another process, or another log of this one, appends to the log.
  explicit DurableMark(const std::string& folder);
  ~DurableMark();
  DurableMark(const DurableMark&) = delete;
  DurableMark& operator=(const DurableMark&) = delete;
  // Entries below `seq` are durable. Only readers that follow the log care, so a full disk is no error here.
  void set(std::uint64_t seq);

 private:
  std::string path_;
  int descriptor_ = -1;
};

struct LogProgress {
  bool live = false;          // a process appends to the log
  std::uint64_t end_seq = 0;  // live: entries below are durable
};
LogProgress progress_of_log(const std::string& folder);

}  // namespace nabla
