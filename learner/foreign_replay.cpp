#include "learner/foreign_replay.h"

#include "common/error.h"
#include "common/log.h"
#include "learner/publisher.h"

#include <algorithm>

namespace nabla {

namespace {

// Trains one update; false when stopped in its middle.
bool train_update(RunSession& session, Publisher& publisher, const UpdateRecords& update, const std::stop_token& stop) {
  auto metrics = session.train(update, stop);
  if (!metrics) return false;
  (*metrics)["unet_l2_to_ref"] = publisher.publish(update.update + 1).drift;
  session.report_update(*metrics);
  return true;
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
    for (; trained < updates && !stop.stop_requested(); ++trained) {
      const auto first = records.begin() + trained * slots;
      if (!train_update(session, publisher, {trained, {first, first + slots}}, stop)) break;
    }
    if (trained == updates && updates < wanted) log_warning("the log ends after update {} of {}", updates, wanted);
  } catch (...) {
    error = std::current_exception();
  }
  RunSummary& summary = session.summary();
  summary.ledger = {summary.trajectories, summary.trajectories, 0, {}};
  return session.finish(error, trained < updates);
}

}  // namespace nabla
