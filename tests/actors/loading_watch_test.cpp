#include "actors/loading_watch.h"

#include "tests/testing.h"

#include <poll.h>
#include <sys/mman.h>

#include <atomic>
#include <cstddef>

using namespace nabla;

namespace {

// Touches so many pages that were never touched before.
void touch_new_pages(std::size_t count) {
  constexpr std::size_t kPage = 4096;
  void* memory = ::mmap(nullptr, count * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  ::madvise(memory, count * kPage, MADV_NOHUGEPAGE);
  auto* bytes = static_cast<volatile char*>(memory);
  for (std::size_t i = 0; i < count; ++i) bytes[i * kPage] = 1;
  ::munmap(memory, count * kPage);
}

void compute_for(double cpu_s) {
  const double start = work_of_this_process().cpu_s;
  volatile double sum = 0;
  while (work_of_this_process().cpu_s - start < cpu_s) sum = sum + 1;
}

}  // namespace

TEST_CASE("a process that computes or touches new memory is at work, one that waits is not") {
  const ProcessWork start = work_of_this_process();
  compute_for(0.06);
  CHECK(is_at_work(start, work_of_this_process(), 1.0));

  const ProcessWork before_pages = work_of_this_process();
  touch_new_pages(64);
  const ProcessWork after_pages = work_of_this_process();
  CHECK(after_pages.page_faults - before_pages.page_faults >= 64);
  CHECK(is_at_work(before_pages, after_pages, 1000.0));

  ::poll(nullptr, 0, 1);  // its code is in memory then
  const ProcessWork before_wait = work_of_this_process();
  ::poll(nullptr, 0, 100);
  CHECK_FALSE(is_at_work(before_wait, work_of_this_process(), 1.0));
}

TEST_CASE("a watch tells of work that goes on, and nothing once it is over") {
  std::atomic<int> moves{0};
  {
    const LoadingWatch watch(std::chrono::milliseconds(5), [&] { ++moves; });
    while (moves < 3) touch_new_pages(64);
  }
  const int told = moves;
  touch_new_pages(64);
  ::poll(nullptr, 0, 20);
  CHECK(moves == told);
}

TEST_CASE("a watch over a process that waits tells nothing") {
  std::atomic<int> moves{0};
  const LoadingWatch watch(std::chrono::milliseconds(50), [&] { ++moves; });
  const ProcessWork before = work_of_this_process();
  const int told = moves;
  ::poll(nullptr, 0, 500);
  // Whatever else this process did in the meantime would be told rightly, and the start of the watch's thread may be a part of its first interval.
  if (!is_at_work(before, work_of_this_process(), 0.05)) CHECK(moves - told <= 1);
}
