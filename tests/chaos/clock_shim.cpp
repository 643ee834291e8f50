// Preloaded into learner and actors (LD_PRELOAD): a wall clock that is a day ahead, then a day behind, and so on, another way every tenth of a second. Nobody's
// deadline may depend on it. NABLA_CLOCK_MET names a file that gets a line when it is first read.
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

namespace {

void meet_fault() {
  static std::atomic<bool> met{false};
  const char* path = std::getenv("NABLA_CLOCK_MET");
  if (path == nullptr || met.exchange(true)) return;
  const int file = static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (file < 0) return;
  constexpr char kLine[] = "clock read\n";
  syscall(SYS_write, file, kLine, sizeof kLine - 1);
  syscall(SYS_close, file);
}

timespec jumping_time() {
  meet_fault();
  constexpr long kDay = 86'400, kTenth = 100'000'000;
  timespec monotonic{}, wall{};
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &monotonic);
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &wall);
  wall.tv_sec += monotonic.tv_nsec / kTenth % 2 == 0 ? kDay : -kDay;
  return wall;
}

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  if (clock != CLOCK_REALTIME) return static_cast<int>(syscall(SYS_clock_gettime, clock, time));
  *time = jumping_time();
  return 0;
}

extern "C" int gettimeofday(timeval* time, void*) noexcept {
  const timespec now = jumping_time();
  *time = {now.tv_sec, now.tv_nsec / 1000};
  return 0;
}

extern "C" time_t time(time_t* result) noexcept {
  const time_t seconds = jumping_time().tv_sec;
  if (result != nullptr) *result = seconds;
  return seconds;
}
