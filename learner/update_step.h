#pragma once

#include "common/config/run_config.h"
#include "learner/collate.h"
#include "learner/learner_model.h"
#include "learner/losses/objective.h"
#include "learner/optimizer.h"
#include "learner/trajectory_queue.h"

#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>

namespace nabla {

// The objective's settings of a run. The sign of experiment.reward_sign is in reward_scale.
ObjectiveConfig objective_of(const RunConfig& config);

// One update: micro-batches of training.batch_size slots through losses and backward, gradients summed over slots and divided once by their number,
// clipped a group, one AdamW step each for the LoRA and the flow network. The same code trains live and replayed records. Its result depends on
// the records, the weights and the configuration alone. `model` must outlive it.
class UpdateStep {
 public:
  UpdateStep(const RunConfig& config, LearnerModel& model);

  // Metrics by the names of the run's metrics; nothing when stop was requested between two micro-batches (the weights are then unchanged).
  // Error with exit code 6, naming update and slots, on a loss or gradient that is not finite; the weights are unchanged too.
  std::optional<std::map<std::string, double>> train(const UpdateRecords& update, const std::stop_token& stop);

  // Rows through networks since the start: learner_unet_forwards, learner_unet_backwards, learner_flow_forwards, learner_flow_backwards.
  std::map<std::string, std::int64_t> counters() const;

 private:
  Predictions predict(const MicroBatch& micro);
  void predict_flow(const MicroBatch& micro, Predictions& predictions);
  void require_finite(const UpdateRecords& update, const std::vector<Tensor>& losses, double grad_norm, double flow_grad_norm) const;

  const RunConfig config_;
  ObjectiveConfig objective_;
  LearnerModel& model_;
  PromptEncoder prompts_;
  AdamW policy_optimizer_;
  std::optional<AdamW> flow_optimizer_;
  std::int64_t flow_forwards_ = 0, flow_backwards_ = 0;
};

}  // namespace nabla
