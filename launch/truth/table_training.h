#pragma once

#include "launch/truth/table_field.h"
#include "launch/truth/trajectories.h"
#include "launch/truth/transition_rows.h"

#include <memory>
#include <vector>

namespace nabla::truth {

// The axis of each level's table, the final state's too.
std::vector<TableAxis> axes_of(const TruthCase& problem, const StepTable& table);
// Points that cover a table evenly: on the line the nodes and the middles between them, in the plane the nodes alone.
Tensor cover_of(const TableAxis& axis, std::int64_t dimensions);

// The algorithm with a table a level for policy and flow, trained from the last transition to the first, each version of a level to the exact
// minimum of the production loss on its rows: the policy's by the forward loss, the flow's by the reverse and the terminal loss (with
// flow_from_forward_loss by the forward loss too). A level's versions go on until they change no more.
// x comes from the base model's trajectories, at the transitions that the run's choice draws, and from an even cover of the table: the minimum does
// not depend on the law of x (docs/truth.md), but where nothing ever comes between two modes the flow is steep, and nodes that rows determine
// badly would send their errors to earlier levels. y comes from the policy, by quadrature.
class TableTraining {
 public:
  // All must outlive it.
  TableTraining(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference);
  void run();

  const TableField& change() const { return change_; }  // eps_theta - eps#
  const TableField& flow() const { return flow_; }      // g_phi; N + 1 levels

 private:
  States states_of(std::size_t step, const Tensor& x) const;
  NoisePoints noise(std::size_t step) const;
  TransitionBatch rows(std::size_t step) const;
  void train_transition(std::size_t step);
  Predictions predict(std::size_t step, const TransitionBatch& batch) const;
  Parabolas parabolas(const TransitionBatch& batch, const Predictions& predictions, Tensor Predictions::*which, const Tensor& x) const;
  void train_policy(std::size_t step, const TransitionBatch& batch);
  void train_flow(std::size_t step, const TransitionBatch& batch);
  void train_flow_forward_too(std::size_t step, const TransitionBatch& batch, const TransitionBatch& later);
  double size_of_move(std::size_t step, const Tensor& before) const;
  bool stays_near(std::size_t step) const;
  std::size_t most_versions() const;
  std::size_t version_that_draws(std::size_t newest) const;
  bool settles() const { return problem_.tampering != Tampering::kFreshNoise; }

  const TruthCase& problem_;
  const StepTable& table_;
  const ReferenceModel& reference_;
  std::unique_ptr<Objective> objective_;
  std::vector<TableAxis> axes_;  // by level
  RowMaker maker_;
  TableField change_, behaviour_, flow_;
  std::vector<States> states_;  // by transition
};

}  // namespace nabla::truth
