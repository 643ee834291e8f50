#pragma once

#include "common/diffusion/policy.h"
#include "learner/losses/objective.h"

#include <cstdint>
#include <memory>

namespace nabla {

// Evaluates the networks under training where an objective looks at them. `policy` must outlive it; `flow` is null where there is none.
class Predictor {
 public:
  enum class FlowPrompt { kOwn, kEmpty };  // model.flow_prompt_conditioned
  Predictor(Policy& policy, std::shared_ptr<UNet2DConditionModel> flow, const ObjectiveConfig& objective, FlowPrompt flow_prompt);

  // With graphs to the LoRA and the flow network; conditioning has a row of prompt_embeds for each row of the batch.
  Predictions predict(const TransitionBatch& batch, const Conditioning& conditioning);

  // Rows through the flow network since the start; backward ones are counted by the graph when it is differentiated.
  std::int64_t flow_forwards() const { return flow_passes_->forwards; }
  std::int64_t flow_backwards() const { return flow_passes_->backwards; }

 private:
  void predict_policy(const TransitionBatch& batch, const Conditioning& conditioning, Predictions& predictions);
  void predict_with_reverse_score(const TransitionBatch& batch, const Conditioning& conditioning, Predictions& predictions);
  void predict_flow(const TransitionBatch& batch, const Conditioning& conditioning, Predictions& predictions);
  Tensor flow_at(const Tensor& latents, const Tensor& timesteps, const Tensor& embeds);

  Policy& policy_;
  std::shared_ptr<UNet2DConditionModel> flow_;
  ObjectiveConfig objective_;
  FlowPrompt flow_prompt_;
  std::shared_ptr<Policy::Counters> flow_passes_ = std::make_shared<Policy::Counters>();
};

}  // namespace nabla
