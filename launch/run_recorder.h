#pragma once

#include "common/metrics.h"
#include "launch/console.h"
#include "learner/learner.h"

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace nabla {

// Writes what a run tells about itself into its folder: metrics.jsonl and status.json on the way, summary.json, gallery.png and report.html at the
// end, also of a failed or stopped run. Passes everything on to the console.
class RunRecorder : public RunObserver {
 public:
  RunRecorder(std::string run_dir, Console& console);

  void on_start(const RunFacts& facts) override;
  // Takes up what metrics.jsonl says of the updates before, and forgets what it says of the others.
  void on_resume(std::int64_t next_update) override;
  void on_wait(const std::string& reason) override;
  void on_update(const UpdateReport& report) override;
  void on_evaluation(const EvaluationSummary& evaluation) override;
  // How the run stands now; null before it starts and once it ends. Thread safe.
  std::shared_ptr<const FleetStatus> live_status() const;
  // The end of a run; then throws what ended it. That reason is never hidden by a summary that cannot be written, as on a full disk.
  void finish(const LearnerResult& result);

 private:
  void write_end(const RunSummary& summary);
  void write_status(const std::string& state, const std::string& waiting_for);

  std::string run_dir_;
  Console& console_;
  std::optional<MetricsWriter> metrics_;
  RunFacts facts_;
  std::vector<UpdateReport> updates_;
  double last_status_ = 0.0;
  mutable std::mutex status_mutex_;
  std::function<std::shared_ptr<const FleetStatus>()> status_;  // guarded by status_mutex_
};

}  // namespace nabla
