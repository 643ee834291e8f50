#pragma once

#include "launch/truth/field.h"
#include "launch/truth/reference_model.h"
#include "launch/truth/truth_case.h"

namespace nabla::truth {

// Letters: n states x, Q points of noise, R = Q n rows; row q n + i is state i with noise q.

// Noise of a transition: every state meets every point. Points and weights of a quadrature.
struct NoisePoints {
  Tensor points;   // [Q,d]
  Tensor weights;  // [Q], sums to 1
};

// Gauss-Hermite points for the standard normal law, `order` an axis.
NoisePoints gauss_hermite(std::int64_t order, std::int64_t dimensions);
// Points of the line for the standard normal law, at most `spacing` apart and evenly from -6 to 6.
NoisePoints even_points(double spacing);
// The same in the plane, within 4.2 of the origin and with variance 1.
NoisePoints even_disc(double spacing);

struct States {
  Tensor x;                      // [n,d]
  Tensor weights;                // [n]
  std::int64_t num_visited = 0;  // the first of them come from trajectories
};

// What actors put into the records of one transition, in closed form: reference, reward gradients, reverse scores; tampered with as the case
// says. The policy predicts eps# + change.
class RowMaker {
 public:
  // All must outlive it.
  RowMaker(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference)
      : problem_(problem), table_(table), reference_(reference) {}

  // y is drawn by `behaviour`; the reverse scores are `policy`'s own (as relabelling makes them). slot_weight is the state's weight times the
  // noise's.
  TransitionBatch rows(std::size_t step, const States& states, const NoisePoints& noise, const Field& policy, const Field& behaviour) const;
  // The same for y [Qn,d] that have been drawn already, by a policy that predicted behaviour_eps [n,d] at x [n,d]. slot_weight is not set.
  TransitionBatch evaluate(std::size_t step, const Tensor& x, const Tensor& y, const Tensor& behaviour_eps, const Field& policy) const;

  // d log R(clean prediction at x) / dx, through the prediction: [R,d] -> [R,d].
  Tensor forward_looking_gradient(std::size_t level, const Tensor& x, const Field& policy) const;
  bool is_terminal(std::size_t step) const { return step + 1 == table_.transitions.size(); }

 private:
  void tamper(std::size_t step, const NoisePoints& noise, TransitionBatch& batch) const;

  const TruthCase& problem_;
  const StepTable& table_;
  const ReferenceModel& reference_;
};

// [R,d] as the loss code wants it, [R,d,1,1], and back.
inline Tensor as_latents(const Tensor& x) { return x.unsqueeze(2).unsqueeze(3); }
inline Tensor as_points(const Tensor& latents) { return latents.flatten(1); }

}  // namespace nabla::truth
