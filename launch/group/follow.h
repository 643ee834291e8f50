#pragma once

#include "common/config/run_config.h"
#include "launch/group/rank_group.h"

#include <stop_token>

namespace nabla {

enum class LogStyle { kText, kJson };

// The whole work of another rank than 0 of a live run; returns the exit code. Its log goes to the console, nothing to the run folder.
int follow_rank_0(const RunConfig& config, RankGroup& ranks, const std::stop_token& stop, LogStyle style);

}  // namespace nabla
