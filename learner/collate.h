#pragma once

#include "common/config/record_needs.h"
#include "common/diffusion/clip_text.h"
#include "common/diffusion/policy.h"
#include "common/diffusion/transition_kernel.h"
#include "learner/losses/objective.h"
#include "learner/trajectory_queue.h"

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nabla {

// Prompt embeddings by token ids, each computed once and alone, so that its bits do not depend on its neighbours.
class PromptEncoder {
 public:
  explicit PromptEncoder(std::shared_ptr<ClipTextModel> text_encoder);
  // token_ids [L] -> [1,L,D], float32 or wider, on the text encoder's device; no gradient.
  Tensor encode(const std::vector<std::int64_t>& token_ids);

 private:
  std::shared_ptr<ClipTextModel> text_encoder_;
  at::Device device_;
  std::map<std::vector<std::int64_t>, Tensor> cache_;
};

// Some slots of one update as tensors. Rows of a slot are neighbours, slots in the given order.
struct MicroBatch {
  TransitionBatch transitions;
  Conditioning conditioning;  // a row of prompt_embeds each
};

struct CollateOptions {
  RecordNeeds needs;
  // Chance of each step of the table to be in a record: rows are weighted by its inverse instead of equally. Empty: equally.
  std::vector<double> inclusion;
  at::Device device = at::kCPU;  // where the tensors go
};

// `records` were accepted by the validator: their tensors and steps are as the table and the rules say. Rows of a tensor that are longer than its norm
// limit are scaled down to it.
MicroBatch collate(std::span<const SharedRecord> records, const StepTable& table, const CollateOptions& options, PromptEncoder& prompts,
                   const std::vector<std::int64_t>& empty_prompt, const std::map<std::string, double>& norm_limits = {});

}  // namespace nabla
