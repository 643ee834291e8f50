#pragma once

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstdint>
#include <memory>

namespace nabla {

// Bytes of CPU tensors that this thread has while it lives: exact, and apart from what the process holds otherwise. Gradients count, LibTorch takes this
// state along into their threads; scratch memory of oneDNN and BLAS does not.
class TensorMemory {
 public:
  TensorMemory() : counter_(std::make_shared<Counter>()), guard_(c10::DebugInfoKind::PROFILER_STATE, counter_) {}
  std::int64_t live_bytes() const { return counter_->live; }
  std::int64_t peak_bytes() const { return counter_->peak; }
  // The peak starts again from what is there now.
  void forget_peak() { counter_->peak = counter_->live; }

 private:
  struct Counter : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t, c10::Device) override {
      live += bytes;
      peak = std::max(peak, live);
    }
    bool memoryProfilingEnabled() const override { return true; }
    std::int64_t live = 0, peak = 0;
  };
  std::shared_ptr<Counter> counter_;
  c10::DebugInfoGuard guard_;
};

}  // namespace nabla
