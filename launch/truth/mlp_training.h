#pragma once

#include "launch/truth/mlp_field.h"
#include "launch/truth/trajectories.h"
#include "launch/truth/transition_rows.h"
#include "learner/adamw.h"

#include <functional>
#include <memory>
#include <vector>

namespace nabla::truth {

// The algorithm end to end with a network for policy and flow: trajectories of the current policy, the run's choice of transitions, the production
// loss, clipping and AdamW. The policy's output is divided by the transition's w, so that all levels weigh the same in w (eps - eps#).
class MlpTraining {
 public:
  // All must outlive it.
  MlpTraining(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference);

  // `observer` is called now and then with the number of updates done.
  void run(const std::function<void(std::int64_t updates)>& observer = {});

  // Weights averaged over the last quarter of the updates, once run() has ended.
  const MlpField& change() const { return change_; }
  const MlpField& flow() const { return flow_; }

 private:
  // Records of some slots: rows of a slot are neighbours.
  struct Pool {
    TransitionBatch rows;
    Tensor step;                    // [R] int64
    Tensor features_x, features_y;  // what the networks see of x and y [R,F]
  };
  Pool sample_pool(std::int64_t first_slot, std::int64_t num_slots) const;
  void update(const Pool& pool, std::int64_t first_slot, std::int64_t num_slots);
  Predictions predict(const Pool& pool, const TransitionBatch& batch, const Tensor& chosen) const;
  void add_to_average();
  void take_average();

  const TruthCase& problem_;
  const StepTable& table_;
  const ReferenceModel& reference_;
  RowMaker maker_;
  std::unique_ptr<Objective> objective_;
  MlpField change_, flow_;
  AdamW policy_optimizer_, flow_optimizer_;
  std::vector<Tensor> sums_;
  std::int64_t num_averaged_ = 0;
};

}  // namespace nabla::truth
