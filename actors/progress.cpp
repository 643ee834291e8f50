#include "actors/progress.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/heap.h"

namespace nabla {

void Progress::begin_stage(const std::string& stage) {
  const double now = monotonic_seconds();
  if (!state_.stage.empty()) state_.stage_seconds[state_.stage] += now - stage_start_;
  stage_start_ = now;
  state_.stage = stage;
  state_.peak_rss_bytes = peak_resident_bytes();
  publish_(state_);
}

void Progress::step() {
  if (stop_.stop_requested()) throw failure("stopped");
  ++state_.steps_done;
  publish_(state_);
}

}  // namespace nabla
