#include "learner/foreign_replay.h"

#include "common/error.h"
#include "common/log.h"
#include "learner/publisher.h"

#include <algorithm>

namespace nabla {

namespace {

// There is no policy lag to tell of: no version of this run sampled the records.
void report_update(RunSession& session, Publisher& publisher, std::map<std::string, double>& metrics) {
  for (const auto* name : {"policy_lag/mean", "policy_lag/max"}) metrics.erase(name);
  metrics["unet_l2_to_ref"] = publisher.drift();
  session.report_update(metrics);
}

}  // namespace

LearnerResult replay_foreign(RunSession& session, const std::vector<SharedRecord>& records, const std::stop_token& stop) {
  const std::int64_t slots = session.plan().slots_per_update(), wanted = session.plan().num_updates();
  const std::int64_t updates = std::min(wanted, std::ssize(records) / slots);
  std::exception_ptr error;
  std::int64_t trained = 0;
  try {
    if (updates == 0) throw data_error("[replay] the log holds {} trajectories; an update takes {}", records.size(), slots);
    log_info("the records are foreign: {} trajectories, {} updates of {}", records.size(), updates, slots);
    session.announce_start("");
    Publisher publisher(session.model());
    while (trained < updates && (session.group().size() > 1 || !stop.stop_requested())) {
      const auto first = records.begin() + trained * slots;
      auto metrics = session.train(share_of({trained, {first, first + slots}}, slots, session.group()), stop);
      if (!metrics) break;
      ++trained;
      report_update(session, publisher, *metrics);
    }
    if (trained == updates && updates < wanted) log_warning("the log ends after update {} of {}", updates, wanted);
  } catch (...) {
    error = std::current_exception();
  }
  RunSummary& summary = session.summary();
  summary.ledger = {updates * slots, summary.trajectories, (updates - trained) * slots, {}};
  return session.finish(error, trained < updates);
}

}  // namespace nabla
