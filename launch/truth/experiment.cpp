#include "launch/truth/experiment.h"

namespace nabla::truth {

Experiment::Experiment(TruthCase problem_in)
    : problem(std::move(problem_in)), table(step_table_of(problem)), reference(problem.prior, table) {}

void Experiment::train() {
  if (problem.learner == LearnerKind::kMlp) {
    networks_ = std::make_unique<MlpTraining>(problem, table, reference);
    networks_->run();
    change_ = &networks_->change();
    flow_ = &networks_->flow();
    return;
  }
  tables_ = std::make_unique<TableTraining>(problem, table, reference);
  tables_->run();
  change_ = &tables_->change();
  flow_ = &tables_->flow();
}

}  // namespace nabla::truth
