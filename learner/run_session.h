#pragma once

#include "common/metrics.h"
#include "learner/checkpoint/checkpoint.h"
#include "learner/learner.h"
#include "learner/learner_model.h"
#include "learner/record_validator.h"
#include "learner/slot_plan.h"
#include "learner/update_step.h"

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

namespace nabla {

// What a live run and a replay share: model, plan and update step, the reports to the observer, the summary and the exported LoRA. Sets the
// process's thread count and, in lockstep, deterministic algorithms.
class RunSession {
 public:
  // Loads everything; errors are thrown before anything was started. `observer` must outlive it.
  // One rank of `group`, of which only rank 0 writes to the run folder.
  RunSession(const RunConfig& config, const std::string& run_dir, const std::string& run_id, RunObserver& observer,
             std::shared_ptr<ProcessGroup> group = std::make_shared<LocalProcessGroup>());

  const RunConfig& config() const { return config_; }
  const SlotPlan& plan() const { return plan_; }
  LearnerModel& model() { return model_; }
  const std::string& run_id() const { return summary_.run_id; }
  const std::string& base_digest() const { return model_.base_digest; }
  ProcessGroup& group() { return *group_; }
  RunSummary& summary() { return summary_; }
  Counters& timers() { return timers_; }

  // Rules for records of the given run.
  RecordRules record_rules(const std::string& run_id) const;
  std::string weights_contract() const;
  double wall_s() const;  // since the session began
  void announce_start(const std::string& control_endpoint, std::function<std::shared_ptr<const FleetStatus>()> status = {});

  // Trains one update, of which `update` holds this rank's records, and counts the slots of all ranks; nothing when stopped in its middle. What was not finite is
  // kept in RUN/nonfinite/ by rank 0, whose error says so.
  std::optional<std::map<std::string, double>> train(const UpdateRecords& update, const std::stop_token& stop);
  // What a checkpoint takes from here: weights, optimisers, totals, evaluations. `config_text` and what the fleet knows is the caller's.
  Checkpoint checkpoint() const;
  // Goes on from a checkpoint; before the first update. kWeightsAlone: as a replay does, whose totals are its own.
  enum class Restore { kAll, kWeightsAlone };
  void restore(const Checkpoint& checkpoint, Restore what);
  // All ranks together, before the first update: the others take over rank 0's state, which may have gone on from a checkpoint.
  void share_state();
  // The update that is trained next: how many are done.
  std::int64_t next_update() const { return summary_.updates; }
  void report_update(std::map<std::string, double> metrics);
  void report_evaluation(EvaluationSummary evaluation);

  // Writes RUN/export/ and fills what is known at the end. `error`: what ended the run, or null. An error of the export is reported only when
  // there was none before.
  LearnerResult finish(std::exception_ptr error, bool stopped);

 private:
  std::string keep_non_finite_batch(std::int64_t update) const;
  void export_weights();
  void export_to(const std::string& folder, const std::string& what);
  void add_own_totals(RunSummary& summary) const;

  RunConfig config_;
  std::string run_dir_;
  RunObserver& observer_;
  std::string prompts_digest_;
  SlotPlan plan_;
  LearnerModel model_;
  const std::shared_ptr<ProcessGroup> group_;
  UpdateStep step_;
  RunSummary summary_;
  Counters timers_;  // seconds by stage
  double start_s_, lag_sum_ = 0;
  std::int64_t first_update_ = 0;  // where it went on
};

}  // namespace nabla
