#pragma once

#include "common/diffusion/transition_kernel.h"
#include "learner/losses/objective.h"
#include "learner/transition_choice.h"
#include "tests/learner/truth_tables.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace nabla::truth {

// A prior and a reward on the line whose tilted law is known. Functions of [R,1,1,1] float64, differentiable.
struct Case {
  std::function<Tensor(const Tensor& x, double alpha_bar)> reference_eps;  // of the prior noised to that level
  std::function<Tensor(const Tensor& clean)> log_reward;
};

// T0: prior N(0,1), log R = v x.
Case gaussian_case(double v);

// Ways to spoil the training data, each of which a sound test has to notice.
enum class Tampering { kNone, kNoTerminalTarget, kRewardSign, kReverseSign };

struct TrainingOptions {
  ObjectiveConfig objective;
  TransitionChoice choice;
  std::vector<double> nodes{-1.0, 1.0};
  std::int64_t num_slots = 256;
  std::uint64_t seed = 0;
  Tampering tampering = Tampering::kNone;
};

// The algorithm on a Case: policy and flow are tables; kernel, choice of transitions and losses are those of a run. Levels are trained from
// the last transition to the first, each to the exact minimum: the policy's level by the forward loss, then the flow's by the reverse and the
// terminal loss, on rows x of the base model's trajectories and y drawn by the current policy (gradient kind policy_fl).
class Training {
 public:
  // `table` must outlive it.
  Training(const Case& truth_case, const StepTable& table, const TrainingOptions& options);
  void run();

  Tensor policy_eps(std::size_t step, const Tensor& x) const;
  Tensor flow(std::size_t level, const Tensor& x) const;
  // beta gamma d log R(clean prediction at x) / dx + g(x): the score of the residual flow at the state before transition `step`.
  Tensor flow_score(std::size_t step, const Tensor& x) const;

 private:
  void sample_states();
  TransitionBatch rows_of(std::size_t step) const;
  Tensor loss_of(std::size_t step, const TransitionBatch& batch) const;
  Tensor reward_gradient(std::size_t level, const Tensor& x) const;
  void tamper(TransitionBatch& batch) const;

  Case case_;
  const StepTable& table_;
  TrainingOptions options_;
  LevelTables policy_, flow_;                        // eps_theta - eps# and g, a level a state
  std::vector<std::vector<std::int64_t>> slots_of_;  // by transition: the slots that chose it
  std::vector<Tensor> states_, noise_;               // by transition: state before it and its noise, [S,1,1,1]
};

// Mean and variance of the final state for the start N(0,1) and a policy that is affine in the state.
struct Law {
  double mean = 0.0, variance = 1.0;
};
Law output_law(const Training& training, const StepTable& table);

}  // namespace nabla::truth
