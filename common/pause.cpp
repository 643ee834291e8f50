#include "common/pause.h"

#include <condition_variable>
#include <mutex>

namespace nabla {

void pause_until(std::chrono::steady_clock::time_point end, const std::stop_token& stop) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any never;
  never.wait_until(lock, stop, end, [] { return false; });
}

}  // namespace nabla
