#pragma once

#include "launch/truth/mlp_training.h"
#include "launch/truth/reference_model.h"
#include "launch/truth/table_training.h"
#include "launch/truth/truth_case.h"

#include <memory>

namespace nabla::truth {

// One case with its chain, its base model and what was learned. Parts refer to each other, so it stays where it was made.
class Experiment {
 public:
  explicit Experiment(TruthCase problem);
  Experiment(const Experiment&) = delete;
  Experiment& operator=(const Experiment&) = delete;

  void train();
  // After train(): eps_theta - eps#, and g_phi.
  const Field& change() const { return *change_; }
  const Field& flow() const { return *flow_; }

  const TruthCase problem;
  const StepTable table;
  const ReferenceModel reference;

 private:
  std::unique_ptr<TableTraining> tables_;
  std::unique_ptr<MlpTraining> networks_;
  const Field* change_ = nullptr;
  const Field* flow_ = nullptr;
};

}  // namespace nabla::truth
