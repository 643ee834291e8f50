#pragma once

#include "common/config/run_config.h"
#include "learner/anchor.h"
#include "learner/collate.h"
#include "learner/group/gradient_exchange.h"
#include "learner/group/local_process_group.h"
#include "learner/group/step_report.h"
#include "learner/learner_model.h"
#include "learner/losses/objective.h"
#include "learner/losses/objective_config.h"
#include "learner/non_finite_batch.h"
#include "learner/optimizer.h"
#include "learner/predictor.h"
#include "learner/reference.h"
#include "learner/slot_facts.h"
#include "learner/trajectory_queue.h"
#include "learner/update_statistics.h"
#include "learner/weight_average.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>

namespace nabla {

// One update: micro-batches of training.batch_size slots through losses and backward, gradients summed over slots and divided once by their number,
// clipped a group, one step of training.optimizer each for the LoRA and the flow network (compat.adam_steps_per_grad of them). The same code trains live and replayed
// records. Its result depends on the records, the weights and the configuration alone. `model` must outlive it.
//
// The ranks of a group take the same updates together, each with the records of its own slots: gradients are summed over the ranks with one call, so that
// all of them take the same step, and every learner.digest_every updates they check that they did.
class UpdateStep {
 public:
  UpdateStep(const RunConfig& config, LearnerModel& model, std::shared_ptr<ProcessGroup> group = std::make_shared<LocalProcessGroup>());

  // `update` holds this rank's records. Metrics by the names of the run's metrics, over the slots of all ranks; nothing when stop was requested of any rank
  // before its last micro-batch (the weights are then unchanged). Error with exit code 6 on every rank, naming update and slots, on a loss or gradient that is
  // not finite; the weights are unchanged too.
  std::optional<std::map<std::string, double>> train(const UpdateRecords& update, const std::stop_token& stop);
  // After such an error, on every rank: the micro-batch that it came from. Nothing where only the sum of the gradients is not finite.
  const std::optional<NonFiniteBatch>& non_finite() const { return non_finite_; }
  // The slots of the update that was trained last, of all ranks.
  const std::vector<SlotFacts>& slots() const { return slots_; }

  // Rows through networks since the start, of all ranks: learner_unet_forwards, learner_unet_backwards, learner_flow_forwards, learner_flow_backwards.
  std::map<std::string, std::int64_t> counters() const;
  // All that later updates come from, besides records and configuration, as copies: "lora.<tensor>", "flow.<parameter>", "anchor.<tensor>", "reference.noise",
  // "lora_optimizer.<...>", "flow_optimizer.<...>"; and "ema.<tensor>", which load_state() can do without. It takes the state back, data_error naming a tensor that
  // does not fit.
  TensorMap state() const;
  void load_state(const TensorMap& state);
  // Null unless the U-Net regulariser has weights of its own.
  const RegularizerAnchor* anchor() const { return anchor_ ? &*anchor_ : nullptr; }
  // Null unless training.ema_decay asks for it.
  const WeightAverage* average() const { return average_ ? &*average_ : nullptr; }

 private:
  std::map<std::string, std::int64_t> own_counters() const;
  // What a micro-batch is made of.
  struct Part {
    std::span<const SharedRecord> records;
    std::span<const double> advantages;  // by record
    const std::map<std::string, double>& norm_limits;
  };
  std::vector<Part> parts_of(const UpdateRecords& update, const UpdateStatistics& statistics) const;
  StepReport accumulate(const UpdateRecords& update, const std::vector<Part>& parts, const std::stop_token& stop);
  MicroBatch prepare(const Part& part);
  LossOutput compute(const MicroBatch& micro);
  void step_optimizers(std::int64_t update);
  std::string loss_problem(std::int64_t update, const std::vector<Part>& parts, const std::vector<Tensor>& losses);
  void require_finite(std::int64_t update, const std::vector<Part>& parts, double grad_norm, double flow_grad_norm);
  void find_non_finite_gradient(const std::vector<Part>& parts);
  void check_ranks();
  void load_average(const TensorMap& values);

  const RunConfig config_;
  const ObjectiveConfig objective_config_;
  const std::unique_ptr<Objective> objective_;
  LearnerModel& model_;
  const CollateOptions collate_options_;
  PromptEncoder prompts_;
  Predictor predictor_;
  ReferencePrediction reference_;
  std::optional<RegularizerAnchor> anchor_;
  std::optional<WeightAverage> average_;
  const std::unique_ptr<Optimizer> policy_optimizer_, flow_optimizer_;  // the second is null where there is no flow network
  const std::shared_ptr<ProcessGroup> group_;
  GradientExchange gradients_;
  std::vector<SlotFacts> slots_;
  std::optional<NonFiniteBatch> non_finite_;
  std::map<std::string, std::int64_t> counters_;
  std::int64_t trained_ = 0;
};

}  // namespace nabla
