#pragma once

#include "launch/truth/field.h"
#include "launch/truth/grid_chain.h"
#include "launch/truth/reference_model.h"
#include "launch/truth/truth_case.h"

#include <vector>

namespace nabla::truth {

// Values of the grid's points as a column [grid size, 1], and back.
Tensor column_of(const GridValues& values);
GridValues values_of(const Tensor& column);

// What is exactly known of a case on the line: laws of the N-step chain by dynamic programming on a grid, in double.
class LineTruth {
 public:
  // All must outlive it. `refinement` makes the grid finer than sums need, for differences between its points.
  LineTruth(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference, double refinement = 1.0);

  const Grid& grid() const { return grid_; }
  // Law of the final state for the start N(0,1) under the policy eps# + change.
  GridValues final_law(const Field& change) const;
  // Laws of the N + 1 states under the reference.
  const std::vector<GridValues>& reference_laws() const { return reference_laws_; }
  // Proportional to the reference's final law^eta times R^beta.
  const GridValues& target() const { return target_; }

  // beta d log R / dx at each point: the score of the residual flow at the final state.
  GridValues final_score() const;
  // log of the residual flow at the N + 1 levels: the last is beta log R, each earlier one log E#[flow | x].
  std::vector<GridValues> log_flows() const;
  // Final law of the algorithm's fixed point, which no table and no sampling error touches: how near the fixed variance of a step lets it come
  // to the target (docs/truth.md).
  GridValues fixed_point_law() const;
  std::vector<GridValues> fixed_point_means() const;  // of each transition, under that fixed point

  // The reference's transition of a step, and d mean / d x at each point.
  GridTransition reference_transition(std::size_t step) const;
  GridValues reference_slope(std::size_t step) const;
  GridValues reference_mean(std::size_t step) const;

 private:
  std::vector<GridValues> run(const std::vector<GridValues>& means) const;

  const TruthCase& problem_;
  const StepTable& table_;
  const ReferenceModel& reference_;
  Grid grid_;
  Tensor points_;  // [grid size, 1]
  std::vector<GridValues> reference_laws_;
  GridValues target_;
};

}  // namespace nabla::truth
