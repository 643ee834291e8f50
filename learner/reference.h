#pragma once

#include "common/config/run_config.h"
#include "common/diffusion/policy.h"
#include "learner/losses/objective.h"
#include "learner/losses/objective_config.h"

#include <optional>

namespace nabla {

// The base model's prediction at x that an update trains with (learner.reference): the one that came with the record, or the learner's own. The loss takes the
// policy's prediction less this one, times w; made elsewhere or in a batch of another size, a bfloat16 network rounds it differently, and that difference is
// trained on as if it were a reward. Beside the policy's, in a batch of the same form, rounding is common to both. `policy` must outlive it.
class ReferencePrediction {
 public:
  ReferencePrediction(const RunConfig& config, const ObjectiveConfig& objective, Policy& policy);

  // Puts the learner's own prediction into the batch where that is what is trained with. Attached ones of bfloat16 networks are measured on the first batch:
  // they stay if RMS(w (own - attached)) is under 5% of RMS(reward score), else all batches take the learner's own from then on. Several ranks, which would
  // measure different batches, take their own at once.
  void settle(TransitionBatch& batch, const Conditioning& conditioning);
  bool paired() const { return paired_; }
  // What was measured, as a share of RMS(reward score); nothing where nothing was to be measured.
  std::optional<double> noise() const { return noise_; }
  // What was measured, for a run that goes on; empty where nothing is ever measured.
  TensorMap state() const;
  void load(const TensorMap& state);

 private:
  Tensor own_prediction(const TransitionBatch& batch, const Conditioning& conditioning);
  double noise_of(const TransitionBatch& batch, const Tensor& own) const;
  void decide(double noise);

  const ObjectiveConfig objective_;
  Policy& policy_;
  const bool measures_;
  bool paired_;
  std::optional<double> noise_;
};

}  // namespace nabla
