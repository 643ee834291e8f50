#pragma once

#include "launch/truth/reference_model.h"
#include "launch/truth/truth_case.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nabla::truth {

// The chain's residual flow in the plane, by dynamic programming on a square grid in double: expectations by Gauss and Hermite's points, log-flows
// between the grid's points by cubic interpolation.
class PlaneTruth {
 public:
  // All must outlive it. The grid has `nodes` points an axis from -reach to reach.
  PlaneTruth(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference, double reach = 5.0, std::int64_t nodes = 128);

  const Tensor& points() const { return points_; }  // [P,2]
  // log of the residual flow at the N + 1 levels, [P] each: the last is beta log R, each earlier one log E#[flow | x].
  std::vector<Tensor> log_flows() const;
  // E[y | x] under the reference's transition times exp(later), the log-flow of the next level: [P,2].
  Tensor best_mean(std::size_t step, const Tensor& later) const;

 private:
  struct Weighing {
    Tensor y;      // [Q,P,2]
    Tensor share;  // [Q,P]: log of the quadrature's weight times the flow at y
  };
  Weighing weigh(std::size_t step, const Tensor& later) const;
  Tensor interpolate(const Tensor& values, const Tensor& x) const;

  const TruthCase& problem_;
  const StepTable& table_;
  const ReferenceModel& reference_;
  double low_, spacing_;
  std::int64_t nodes_;
  Tensor points_;
};

}  // namespace nabla::truth
