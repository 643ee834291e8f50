#pragma once

#include "learner/learner.h"

#include <string>

namespace nabla {

// What a person sees while a run goes on: one header block, then a progress bar on a terminal or a log line every few seconds elsewhere, and the
// summary as a table at the end.
class Console {
 public:
  struct Options {
    bool quiet = false;
    bool json = false;         // log lines are JSON: nothing but those is printed
    bool is_terminal = false;  // standard error is a terminal wide enough for the bar
    bool color = false;
    int columns = 80;
    double line_every_s = 5.0;
  };
  // Adds what the terminal and the environment (NO_COLOR, CLICOLOR_FORCE, COLUMNS) say to the wanted options.
  static Options detect(Options wanted);

  explicit Console(const Options& options) : options_(options) {}
  void start(const RunFacts& facts, const std::string& run_dir);
  void wait(const std::string& reason);
  void update(const UpdateReport& report);
  void evaluation(const EvaluationSummary& evaluation);
  void finish(const RunSummary& summary, const std::string& run_dir);

 private:
  bool draws_bar() const { return options_.is_terminal && !options_.json && !options_.quiet; }
  void say(const std::string& line);
  void draw_bar(const std::string& line);
  void clear_bar();

  Options options_;
  RunFacts facts_;
  double first_wall_s_ = -1.0, last_line_s_ = -1e9;
  std::int64_t first_update_ = 0;
  bool bar_shown_ = false;
};

// "update 37/60 ▕█████   ▏ 62% ETA 4m12s  reward 5.81±0.34  loss 1.2e-03  lag 0.4  3.1 img/s". bar_width 0 leaves the bar out; seconds_an_update 0
// means not known yet. Metrics that the report lacks are left out.
std::string progress_line(const RunFacts& facts, const UpdateReport& report, double seconds_an_update, int bar_width);

// "update 20: reward 6.80±1.12, true reward 6.51±1.90, diversity 0.31, prompt accuracy 93%".
std::string evaluation_line(const EvaluationSummary& evaluation);

// At most `columns` characters of a UTF-8 text.
std::string cut_to_columns(const std::string& text, int columns);

}  // namespace nabla
