#pragma once

#include "common/config/record_needs.h"
#include "common/config/run_config.h"
#include "common/diffusion/transition_kernel.h"
#include "learner/learner_model.h"
#include "learner/slot_plan.h"
#include "learner/trajectory_queue.h"
#include "protocol/record.h"
#include "protocol/ticket.h"
#include "tests/common/temporary_folder.h"

#include <string>
#include <vector>

namespace nabla::testing {

// A whole model folder of random networks that take milliseconds: latents [4,4,4], the pocket tokenizer, Stable Diffusion's schedule, prompts.
class TinyModelFolder {
 public:
  TinyModelFolder();
  const std::string& path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

// Three updates of four slots, three transitions each; tickets of two. Gradients of random records are not small, so scales are.
RunConfig tiny_config(const TinyModelFolder& folder);

// Who made a record, and for which ticket.
struct RecordOrigin {
  std::string run_id = "run-1", actor_id = "actor-1", digest = "digest-0";
  std::uint64_t ticket_id = 1;
  std::int64_t update = 0, version = 0;
};

// A record of the right form whose numbers are random, but the same for the same slot; `instead` replaces tensors.
EncodedRecord tiny_record(const RecordOrigin& origin, const SlotOrder& order, const StepTable& table,
                          const std::vector<std::int64_t>& token_ids, const TensorMap& instead = {}, const RecordNeeds& needs = {});

// A model, its plan and records for it.
struct TinyLearner {
  explicit TinyLearner(const RunConfig& run_config);

  SharedRecord record(std::int64_t slot, const TensorMap& instead = {}) const;
  // The records of slots of update 0.
  UpdateRecords update_of(const std::vector<std::int64_t>& slots) const;

  RunConfig config;
  LearnerModel model;
  SlotPlan plan;
  ClipTokenizer tokenizer;
};

}  // namespace nabla::testing
