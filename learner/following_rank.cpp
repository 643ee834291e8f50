#include "learner/following_rank.h"

#include "learner/no_report.h"
#include "learner/rank_courier.h"
#include "learner/run_session.h"

namespace nabla {

namespace {

LearnerResult follow(const LearnerOptions& options, const std::stop_token& stop) {
  NoReport observer;
  RunSession session(options.config, "", options.run_id, observer, options.group);
  RankCourier courier(session.group(), session.plan().slots_per_update());
  std::exception_ptr error;
  try {
    session.share_state();
    // Where an update was given up because of a stop, rank 0 finishes.
    while (const auto records = courier.receive(stop)) session.train(*records, stop);
  } catch (...) {
    error = std::current_exception();
  }
  return session.finish(error, session.summary().updates < session.plan().num_updates());
}

}  // namespace

LearnerResult follow_learner(const LearnerOptions& options, std::stop_token stop) {
  return abort_on_error(*options.group, [&] { return follow(options, stop); });
}

}  // namespace nabla
