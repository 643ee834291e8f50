#pragma once

#include "learner/learner.h"

#include <string>

namespace nabla {

// What a person sees while a run goes on: one header block, then a progress bar on a terminal or a line every few seconds elsewhere.
class Console {
 public:
  struct Options {
    bool quiet = false;
    bool is_terminal = false;   // standard error is a terminal wide enough for the bar
    bool color = false;
    int columns = 80;
    double line_every_s = 5.0;
  };
  // Options from the terminal and the environment (NO_COLOR, CLICOLOR_FORCE, COLUMNS).
  static Options detect(bool quiet);

  explicit Console(const Options& options) : options_(options) {}
  void start(const RunFacts& facts, const std::string& run_dir);
  void wait(const std::string& reason);
  void update(const UpdateReport& report);
  void evaluation(const EvaluationSummary& evaluation);
  void finish(const RunSummary& summary, const std::string& run_dir);

 private:
  Options options_;
  RunFacts facts_;
  double first_wall_s_ = -1.0, last_line_ = -1e9;
  std::int64_t first_update_ = 0;
  bool bar_shown_ = false;
};

// "update 37/60 [#####----] 62% ETA 4m12s  reward 5.81±0.34  loss 1.2e-03  lag 0.4  3.1 img/s", cut to the width.
std::string progress_line(const RunFacts& facts, const UpdateReport& report, double seconds_an_update, int bar_width);

}  // namespace nabla
