#pragma once

#include "launch/truth/grid_chain.h"
#include "launch/truth/reference_model.h"
#include "launch/truth/truth_case.h"

#include <cstddef>
#include <vector>

namespace nabla::truth {

// What the chain's own target asks of each state of a square grid in the plane, by dynamic programming in double. P points.
class PlaneTruth {
 public:
  // All must outlive it.
  PlaneTruth(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference);

  const Grid& axis() const { return axis_; }
  const Tensor& points() const { return points_; }  // [P,2], the second coordinate runs fastest

  struct Level {
    Tensor log_flow;   // [P]: log of the residual flow at x, log E#[flow(y) | x]
    Tensor best_mean;  // [P,2]: E[y | x] under the reference's transition times the flow
  };
  // One a transition. Sums over the grid are as exact as on the line; between its points the functions of the mean are taken by cubics.
  std::vector<Level> levels() const;

 private:
  Level last_level() const;
  Level level_before(std::size_t step, const Tensor& log_flow) const;
  Tensor interpolate(const Tensor& values, const Tensor& x) const;

  const TruthCase& problem_;
  const StepTable& table_;
  const ReferenceModel& reference_;
  Grid axis_;
  Tensor points_;
};

}  // namespace nabla::truth
