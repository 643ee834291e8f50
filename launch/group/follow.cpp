#include "launch/group/follow.h"

#include "common/log.h"
#include "learner/following_rank.h"

namespace nabla {

int follow_rank_0(const RunConfig& config, RankGroup& ranks, const std::stop_token& stop, LogStyle style) {
  init_logging({.role = "learner", .number = ranks.rank(), .json = style == LogStyle::kJson});
  LearnerOptions learner{.config = config, .config_text = {}, .run_dir = {}, .run_id = "rank"};
  learner.group = ranks.join("", stop);
  const LearnerResult result = follow_learner(learner, stop);
  if (result.error) std::rethrow_exception(result.error);
  log_info("trained {} updates; weights digest {}", result.summary.updates, result.summary.weights_digest);
  return 0;
}

}  // namespace nabla
