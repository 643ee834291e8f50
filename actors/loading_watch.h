#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>

namespace nabla {

// What this process has done since its start: seconds of CPU time, and pages of memory that it touched for the first time.
struct ProcessWork {
  double cpu_s = 0;
  std::int64_t page_faults = 0;
};
ProcessWork work_of_this_process();

// Whether a process that did this much more within an interval is at work. One that waits for a disk, a network file system or a lock is not, however
// often its heartbeats go out.
bool is_at_work(const ProcessWork& before, const ProcessWork& now, double interval_s);

// Loading has no steps to count and may take any time, so as long as this object lives a thread of its own calls `moved` after every interval in which the
// process was at work.
class LoadingWatch {
 public:
  LoadingWatch(std::chrono::milliseconds interval, std::function<void()> moved);

 private:
  std::jthread thread_;
};

}  // namespace nabla
