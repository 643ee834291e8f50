#pragma once

#include "common/config/run_config.h"
#include "learner/anchor.h"
#include "learner/collate.h"
#include "learner/learner_model.h"
#include "learner/losses/objective.h"
#include "learner/losses/objective_config.h"
#include "learner/optimizer.h"
#include "learner/predictor.h"
#include "learner/trajectory_queue.h"
#include "learner/update_statistics.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>

namespace nabla {

// One update: micro-batches of training.batch_size slots through losses and backward, gradients summed over slots and divided once by their number,
// clipped a group, one AdamW step each for the LoRA and the flow network (compat.adam_steps_per_grad of them). The same code trains live and replayed
// records. Its result depends on the records, the weights and the configuration alone. `model` must outlive it.
class UpdateStep {
 public:
  UpdateStep(const RunConfig& config, LearnerModel& model);

  // Metrics by the names of the run's metrics; nothing when stop was requested between two micro-batches (the weights are then unchanged).
  // Error with exit code 6, naming update and slots, on a loss or gradient that is not finite; the weights are unchanged too.
  std::optional<std::map<std::string, double>> train(const UpdateRecords& update, const std::stop_token& stop);

  // Rows through networks since the start: learner_unet_forwards, learner_unet_backwards, learner_flow_forwards, learner_flow_backwards.
  std::map<std::string, std::int64_t> counters() const;
  // All that later updates come from, besides records and configuration, as copies: "lora.<tensor>", "flow.<parameter>", "anchor.<tensor>",
  // "lora_optimizer.<...>", "flow_optimizer.<...>". load_state() takes it back, data_error naming a tensor that does not fit.
  TensorMap state() const;
  void load_state(const TensorMap& state);
  // Null unless the U-Net regulariser has weights of its own.
  const RegularizerAnchor* anchor() const { return anchor_ ? &*anchor_ : nullptr; }

 private:
  MicroBatch prepare(std::span<const SharedRecord> records, std::size_t first, const UpdateStatistics& statistics);
  void step_optimizers();
  void require_finite(const UpdateRecords& update, const std::vector<Tensor>& losses, double grad_norm, double flow_grad_norm) const;

  const RunConfig config_;
  const ObjectiveConfig objective_config_;
  const std::unique_ptr<Objective> objective_;
  LearnerModel& model_;
  const CollateOptions collate_options_;
  PromptEncoder prompts_;
  Predictor predictor_;
  std::optional<RegularizerAnchor> anchor_;
  AdamW policy_optimizer_;
  std::optional<AdamW> flow_optimizer_;
};

}  // namespace nabla
