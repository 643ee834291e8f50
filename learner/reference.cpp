#include "learner/reference.h"

#include "common/log.h"
#include "learner/losses/reward_score.h"
#include "learner/losses/rows.h"

#include <torch/types.h>

#include <cmath>

namespace nabla {

namespace {

constexpr double kMostNoise = 0.05;
constexpr double kNotMeasured = -1.0;
constexpr const char* kNoise = "noise";

bool is_rounded_attached(const RunConfig& config, const Policy& policy) {
  return config.learner.reference == "attached" && policy.network_dtype() == at::kBFloat16;
}

double rms(const Tensor& tensor) { return std::sqrt(tensor.to(at::kDouble).square().mean().item<double>()); }

}  // namespace

ReferencePrediction::ReferencePrediction(const RunConfig& config, const ObjectiveConfig& objective, Policy& policy)
    : objective_(objective),
      policy_(policy),
      measures_(is_rounded_attached(config, policy) && config.learner.ranks == 1),
      paired_(config.learner.reference == "paired" || (is_rounded_attached(config, policy) && !measures_)) {}

void ReferencePrediction::settle(TransitionBatch& batch, const Conditioning& conditioning) {
  const bool measure = measures_ && !noise_ && batch.reward_grad_y.defined();
  if (!batch.eps_reference.defined() || !(paired_ || measure)) return;
  const Tensor own = own_prediction(batch, conditioning);
  if (measure) {
    decide(noise_of(batch, own));
    log_info("the actors' reference predictions differ from the learner's by {:.2g} of the reward's score: {}", *noise_,
             paired_ ? "the learner makes its own from now on (learner.reference=paired does so at once)" : "they are taken as they come");
  }
  if (paired_) batch.eps_reference = own;
}

void ReferencePrediction::decide(double noise) {
  noise_ = noise;
  paired_ = !(noise < kMostNoise);
}

TensorMap ReferencePrediction::state() const {
  if (!measures_) return {};
  return {{kNoise, torch::tensor({noise_.value_or(kNotMeasured)}, at::kDouble)}};
}

void ReferencePrediction::load(const TensorMap& state) {
  const auto found = state.find(kNoise);
  if (!measures_ || found == state.end()) return;
  const double noise = found->second.item<double>();
  if (noise != kNotMeasured) decide(noise);
}

Tensor ReferencePrediction::own_prediction(const TransitionBatch& batch, const Conditioning& conditioning) {
  const at::NoGradGuard no_grad;
  return policy_.predict(WeightMode::kBase, batch.x, batch.timestep, conditioning);
}

double ReferencePrediction::noise_of(const TransitionBatch& batch, const Tensor& own) const {
  const at::NoGradGuard no_grad;
  const Tensor noise = per_row(batch.weight) * (own - batch.eps_reference);
  return rms(noise) / rms(reward_score_y(batch, objective_));
}

}  // namespace nabla
