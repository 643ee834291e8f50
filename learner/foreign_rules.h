#pragma once

#include "common/config/run_config.h"
#include "protocol/trajectory_log.h"

#include <string>

namespace nabla {

// A log that this run did not make: another run's, or one that `nabla relabel` wrote.
struct ForeignLog {
  std::string folder;
  LogHeader header;
  RunConfig config;  // of header.config
};

// Whether a run of `own` on the base model `base_digest` may train on the log's records (docs/replay.md). usage_error with every reason and the way out.
// Without relabelling, nothing that the weights at work decide may come from the log: no gradient or reverse score through the policy, and no anchor of the
// regulariser, which with a large scale would have the run copy the old one.
void require_usable(const RunConfig& own, const std::string& base_digest, const ForeignLog& log);

}  // namespace nabla
