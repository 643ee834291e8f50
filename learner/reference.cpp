#include "learner/reference.h"

#include "common/log.h"
#include "learner/losses/reward_score.h"
#include "learner/losses/rows.h"

#include <torch/types.h>

#include <cmath>

namespace nabla {

namespace {

constexpr double kMostNoise = 0.05;

double root_mean_square(const Tensor& tensor) { return std::sqrt(tensor.to(at::kDouble).square().mean().item<double>()); }

}  // namespace

ReferencePrediction::ReferencePrediction(const RunConfig& config, const ObjectiveConfig& objective, Policy& policy)
    : objective_(objective),
      policy_(policy),
      paired_(config.learner.reference == "paired"),
      to_be_measured_(!paired_ && policy.network_dtype() == at::kBFloat16) {}

void ReferencePrediction::settle(TransitionBatch& batch, const Conditioning& conditioning) {
  if (!batch.eps_reference.defined() || !(paired_ || to_be_measured_)) return;
  const Tensor own = own_prediction(batch, conditioning);
  if (to_be_measured_ && batch.reward_grad_y.defined()) {
    noise_ = noise_of(batch, own);
    to_be_measured_ = false;
    paired_ = !(*noise_ < kMostNoise);
    log_info("the actors' reference predictions differ from the learner's by {:.2g} of the reward's score: {}", *noise_,
             paired_ ? "the learner makes its own from now on (learner.reference=paired does so at once)" : "they are taken as they come");
  }
  if (paired_) batch.eps_reference = own;
}

Tensor ReferencePrediction::own_prediction(const TransitionBatch& batch, const Conditioning& conditioning) {
  const at::NoGradGuard no_grad;
  return policy_.predict(WeightMode::kBase, batch.x, batch.timestep, conditioning);
}

double ReferencePrediction::noise_of(const TransitionBatch& batch, const Tensor& own) const {
  const at::NoGradGuard no_grad;
  const Tensor noise = per_row(batch.weight) * (own - batch.eps_reference);
  return root_mean_square(noise) / root_mean_square(reward_score_y(batch, objective_));
}

}  // namespace nabla
