#include "actors/loading_watch.h"

#include "common/pause.h"

#include <sys/resource.h>

#include <stop_token>
#include <utility>

namespace nabla {

namespace {

// Heartbeats cost a thousandth of a core and touch no new memory.
constexpr double kBusyShare = 0.05;
constexpr std::int64_t kNewPages = 4;

double seconds_of(const timeval& time) { return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec); }

void watch(const std::stop_token& over, std::chrono::milliseconds interval, const std::function<void()>& moved) {
  const double interval_s = std::chrono::duration<double>(interval).count();
  ProcessWork before = work_of_this_process();
  while (!over.stop_requested()) {
    pause_until(std::chrono::steady_clock::now() + interval, over);
    const ProcessWork now = work_of_this_process();
    if (is_at_work(std::exchange(before, now), now, interval_s)) moved();
  }
}

}  // namespace

ProcessWork work_of_this_process() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return {seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime), usage.ru_minflt + usage.ru_majflt};
}

bool is_at_work(const ProcessWork& before, const ProcessWork& now, double interval_s) {
  return now.cpu_s - before.cpu_s >= kBusyShare * interval_s || now.page_faults - before.page_faults >= kNewPages;
}

LoadingWatch::LoadingWatch(std::chrono::milliseconds interval, std::function<void()> moved)
    : thread_([interval, tell = std::move(moved)](const std::stop_token& over) { watch(over, interval, tell); }) {}

}  // namespace nabla
