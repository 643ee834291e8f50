#include "learner/group/group_call.h"

#include "common/error.h"

#include <ATen/core/ivalue.h>

#include <condition_variable>
#include <memory>
#include <mutex>

namespace nabla {

namespace {

constexpr std::chrono::milliseconds kSlice{100}, kLastChance{500};

// Set by the thread that finishes the work, which may be after we have given up.
struct Completion {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;  // guarded by mutex

  void set() {
    {
      const std::lock_guard lock(mutex);
      done = true;
    }
    changed.notify_all();
  }
  bool wait_for(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, timeout, [this] { return done; });
  }
};

// A call that all came to is done for all: what it brings may still be on its way here when a faster rank ends the group right after it.
void wait_until_done(Completion& completion, const GroupWatch& watch) {
  while (!completion.wait_for(kSlice)) {
    try {
      watch.check();
    } catch (const Error&) {
      if (!completion.wait_for(kLastChance)) throw;
      return;
    }
  }
}

std::string without_tag(const std::string& text) { return text.starts_with("[group] ") ? text.substr(8) : text; }

}  // namespace

void wait_for_work(c10d::Work& work, GroupWatch& watch) {
  try {
    const auto completion = std::make_shared<Completion>();
    work.getFuture()->addCallback([completion](c10::ivalue::Future&) { completion->set(); });
    wait_until_done(*completion, watch);
    try {
      work.wait();
    } catch (const std::exception& problem) {
      watch.blame(problem.what());
    }
  } catch (const Error&) {
    end_with_current_error(watch);
  }
}

void end_with_current_error(GroupWatch& watch) {
  try {
    throw;
  } catch (const std::exception& problem) {
    watch.end(without_tag(problem.what()));
    throw;
  }
}

}  // namespace nabla
