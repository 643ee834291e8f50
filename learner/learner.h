#pragma once

#include "common/config/run_config.h"
#include "protocol/curve.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace nabla {

// One evaluation on the fixed prompts and noise, in picture order.
struct EvaluationSummary {
  std::int64_t update = 0;
  double reward_mean = 0, reward_std = 0;
  bool has_true_reward = false;
  double true_reward_mean = 0, true_reward_std = 0;
  bool has_checker = false;
  double diversity = 0, prompt_accuracy = 0, color_accuracy = 0, shape_accuracy = 0, count_accuracy = 0;
  double drift = 0;                  // RMS(eps_theta - eps_reference) / RMS(eps_reference) on the check input
  std::vector<std::string> prompts;  // per picture
  std::vector<double> rewards;       // per picture
  std::int64_t height = 0, width = 0;
  std::vector<std::vector<std::uint8_t>> images;  // RGB8 row-major, per picture
};

// Conservation in slots; each term comes from another source (issuer, training loop, log journal, open tickets).
struct LedgerSummary {
  std::int64_t issued = 0, trained = 0, outstanding = 0;
  std::map<std::string, std::int64_t> discarded;  // by reason
  std::int64_t residual() const;
};

struct FleetStatus;

struct RunFacts {
  std::string run_id, control_endpoint;
  std::int64_t slots_per_update = 0, transitions_per_slot = 0, updates = 0, lora_parameters = 0, flow_parameters = 0;
  // Updates that were trained when it went on; 0: a new run, or one that had trained none.
  std::int64_t first_update = 0;
  // How the run stands now; null once it ends. Thread safe, at any time. Empty for a replay, which has no fleet.
  std::function<std::shared_ptr<const FleetStatus>()> status = {};
};

struct UpdateReport {
  std::int64_t update = 0;  // 1-based count of finished updates
  double wall_s = 0;
  std::map<std::string, double> metrics;  // as in metrics.jsonl
};

struct RunSummary {
  std::string exit_reason;  // "finished", "stopped", "failed: ..."
  std::string run_id, weights_digest;
  std::int64_t updates = 0, trajectories = 0, unique_transitions = 0, actors_seen = 0;
  double wall_s = 0, policy_lag_mean = 0;
  std::int64_t policy_lag_max = 0;
  std::vector<EvaluationSummary> evaluation;
  LedgerSummary ledger;
  std::map<std::string, double> stage_seconds;
  std::map<std::string, std::uint64_t> peak_rss_bytes;
  std::map<std::string, std::int64_t> counters;  // network evaluations by role and rejects by reason
};

// What a person or a file is told; called from the training thread.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void on_start(const RunFacts& facts) = 0;
  // A run that was there before goes on with this update, before anything else is told; what was told of it and of later ones is told again.
  virtual void on_resume(std::int64_t next_update) { static_cast<void>(next_update); }
  virtual void on_wait(const std::string& reason) = 0;  // at most once a second while waiting, names whom for
  virtual void on_update(const UpdateReport& report) = 0;
  virtual void on_evaluation(const EvaluationSummary& evaluation) = 0;
};

class ProcessGroup;

struct LearnerOptions {
  RunConfig config;
  std::string config_text;  // effective YAML: to the log and to actors
  std::string run_dir, run_id;
  std::optional<ServerKeys> keys = {};  // whom it lets in; none: everybody who reaches it
  std::string actor_key_file = {};      // told to actors on this machine by endpoints.json; secret, so its path alone
  bool insecure = false;                // without keys: other machines may reach it all the same
  bool resume = false;                  // go on with the run in run_dir, from its log and its newest usable checkpoint
  std::string checkpoint = {};          // from this one instead
  std::shared_ptr<ProcessGroup> group = {};  // of which this process is rank 0, and the others follow_learner(); none: it is alone
  // Set by whoever wants a checkpoint now, from any thread; cleared when one is made. Null: nobody asks.
  std::shared_ptr<std::atomic<bool>> checkpoint_wanted = {};
};

// Trains until `updates` are done, `stop` is requested (the micro-step in hand is finished) or something fails. On the way: RUN/endpoints.json,
// RUN/queue/rank-0 (the log), RUN/checkpoints/, RUN/export/ (LoRA). A run that was stopped, one that finished with checkpoint.every, and one whose log could not be
// written, ends with a checkpoint. With `resume`, updates that the log says were trained after the checkpoint are trained again from it, and every version that was published must
// come out again (failure "replay_diverged"). Always returns a summary for a run that started; failures inside it are in exit_reason with `error`; what
// keeps a run from going on is thrown, and its folder is as it was.
struct LearnerResult {
  RunSummary summary;
  std::exception_ptr error;  // set when the run failed
};
LearnerResult run_learner(const LearnerOptions& options, RunObserver& observer, std::stop_token stop);

struct ReplayOptions {
  RunConfig config;
  std::string config_text;
  std::vector<std::string> logs;  // folders of trajectory logs
  std::string run_dir, run_id;
  std::function<RunConfig(const std::string& yaml)> parse_config = {};  // of a foreign log; without it none is taken
  double records_per_s = 0;  // own records, 0: as fast as it goes
  bool follow = false;       // own records: wait for what the run still appends to its log, until it is closed
  std::string from = {};     // own records: a checkpoint of the run, whose updates are not trained again
  std::shared_ptr<ProcessGroup> group = {};  // of which this process is a rank; all ranks get the same logs. None: a rank that is alone
};
// Trains from saved logs instead of actors. The run's own records: the weights must reproduce version by version (failure "replay_diverged", exit 1,
// at the first version whose digest differs). Foreign records: those of their tensors are used that no policy decided (foreign_rules.h); a configuration
// that asks for more is refused before anything is trained. Ranks of a group train their own slots; digests are compared where as many ranks wrote the log.
LearnerResult replay_logs(const ReplayOptions& options, RunObserver& observer, std::stop_token stop);

}  // namespace nabla
