#pragma once

#include "learner/learner.h"

namespace nabla {

// For ranks other than 0, which has told what there is to tell.
class NoReport : public RunObserver {
 public:
  void on_start(const RunFacts&) override {}
  void on_wait(const std::string&) override {}
  void on_update(const UpdateReport&) override {}
  void on_evaluation(const EvaluationSummary&) override {}
};

}  // namespace nabla
