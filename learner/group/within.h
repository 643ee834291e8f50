#pragma once

#include "common/error.h"

#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

namespace nabla {

// The result of a blocking call that has no deadline of its own; network_error once it takes longer than that. The call then goes on in a thread that
// nobody waits for: `work` must own all it uses.
template <class Work>
auto within(double deadline_s, const std::string& what, Work work) {
  std::packaged_task<std::invoke_result_t<Work>()> task(std::move(work));
  auto result = task.get_future();
  std::thread(std::move(task)).detach();
  if (result.wait_for(std::chrono::duration<double>(deadline_s)) != std::future_status::ready)
    throw network_error("[group] {}: no answer within {:.0f} s", what, deadline_s);
  return result.get();
}

}  // namespace nabla
