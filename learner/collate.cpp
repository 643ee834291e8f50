#include "learner/collate.h"

#include "common/error.h"

#include <torch/types.h>

namespace nabla {

namespace {

// A view of the record's bytes; the record must outlive it.
Tensor view_of(const TrajectoryRecord& record, const char* name) {
  const TensorEntry* entry = record.find(name);
  if (entry == nullptr) throw failure("[collate] the record of slot {} has no tensor '{}'", record.header.slot, name);
  const auto bytes = record.bytes(*entry);
  return at::from_blob(const_cast<std::byte*>(bytes.data()), entry->shape, at::TensorOptions().dtype(scalar_type(entry->dtype)));
}

// One tensor of all records, [R,C,h,w], copied.
Tensor stack_rows(std::span<const SharedRecord> records, const char* name) {
  std::vector<Tensor> parts;
  for (const auto& record : records) parts.push_back(view_of(*record, name));
  return at::cat(parts);
}

void describe_transitions(std::span<const SharedRecord> records, const StepTable& table, TransitionBatch& batch) {
  std::vector<std::int64_t> timestep, next_timestep, terminal;
  std::vector<double> weight, alpha_bar, alpha_bar_next, slot_weight;
  for (const auto& record : records) {
    const auto& rows = record->header.transitions;
    for (const auto& row : rows) {
      const Transition& transition = table.transitions[static_cast<std::size_t>(row.step)];
      timestep.push_back(transition.timestep);
      next_timestep.push_back(transition.next_timestep);
      terminal.push_back(static_cast<std::size_t>(row.step) + 1 == table.transitions.size() ? 1 : 0);
      weight.push_back(transition.weight.value());
      alpha_bar.push_back(transition.alpha_bar);
      alpha_bar_next.push_back(transition.alpha_bar_next);
      slot_weight.push_back(1.0 / static_cast<double>(rows.size()));
    }
  }
  const auto column = [](const std::vector<double>& values) { return torch::tensor(values, at::kDouble).to(at::kFloat); };
  batch.timestep = torch::tensor(timestep, at::kLong);
  batch.next_timestep = torch::tensor(next_timestep, at::kLong);
  batch.is_terminal = torch::tensor(terminal, at::kLong).to(at::kBool);
  batch.weight = column(weight);
  batch.alpha_bar = column(alpha_bar);
  batch.alpha_bar_next = column(alpha_bar_next);
  batch.slot_weight = column(slot_weight);
  batch.num_slots = static_cast<std::int64_t>(records.size());
}

}  // namespace

Tensor PromptEncoder::encode(const std::vector<std::int64_t>& token_ids) {
  const auto found = cache_.find(token_ids);
  if (found != cache_.end()) return found->second;
  const at::NoGradGuard no_grad;
  const Tensor ids = torch::tensor(token_ids, at::kLong).unsqueeze(0);
  return cache_[token_ids] = text_encoder_->forward(ids).last_hidden_state;
}

MicroBatch collate(std::span<const SharedRecord> records, const StepTable& table, bool reverse, PromptEncoder& prompts,
                   const std::vector<std::int64_t>& empty_prompt) {
  MicroBatch micro;
  TransitionBatch& batch = micro.transitions;
  batch.x = stack_rows(records, "x");
  batch.y = stack_rows(records, "y");
  batch.eps_behaviour = stack_rows(records, "eps_behaviour");
  batch.eps_reference = stack_rows(records, "eps_reference");
  batch.reward_grad_y = stack_rows(records, "reward_grad_y");
  if (reverse) {
    batch.reward_grad_x = stack_rows(records, "reward_grad_x");
    batch.reverse_score_reference = stack_rows(records, "reverse_score_reference");
    batch.reverse_score_policy = stack_rows(records, "reverse_score_policy");
  }
  describe_transitions(records, table, batch);
  std::vector<Tensor> embeds;
  for (const auto& record : records) {
    micro.slots.push_back(record->header.slot);
    const auto rows = static_cast<std::int64_t>(record->header.transitions.size());
    embeds.push_back(prompts.encode(record->header.token_ids).expand({rows, -1, -1}));
  }
  micro.conditioning = {at::cat(embeds), prompts.encode(empty_prompt)};
  return micro;
}

}  // namespace nabla
