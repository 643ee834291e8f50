#include "learner/collate.h"

#include "common/device/transfer.h"
#include "common/error.h"
#include "learner/losses/rows.h"

#include <torch/types.h>

namespace nabla {

namespace {

// A view of the record's bytes; the record must outlive it.
Tensor view_of(const TrajectoryRecord& record, const std::string& name) {
  const TensorEntry* entry = record.find(name);
  if (entry == nullptr) throw failure("[collate] the record of slot {} has no tensor '{}'", record.header.slot, name);
  const auto bytes = record.bytes(*entry);
  return at::from_blob(const_cast<std::byte*>(bytes.data()), entry->shape, at::TensorOptions().dtype(scalar_type(entry->dtype)));
}

// One tensor of all records, [R,C,h,w], copied.
Tensor stack_rows(std::span<const SharedRecord> records, const std::string& name) {
  std::vector<Tensor> parts;
  for (const auto& record : records) parts.push_back(view_of(*record, name));
  return at::cat(parts);
}

// Where each tensor of a record goes.
std::map<std::string, Tensor*> places_in(TransitionBatch& batch) {
  return {{"x", &batch.x},
          {"y", &batch.y},
          {"eps_behaviour", &batch.eps_behaviour},
          {"eps_reference", &batch.eps_reference},
          {"reward_grad_y", &batch.reward_grad_y},
          {"reward_grad_x", &batch.reward_grad_x},
          {"reward_grad_x0", &batch.reward_grad_x0},
          {"reverse_score_reference", &batch.reverse_score_reference},
          {"reverse_score_policy", &batch.reverse_score_policy},
          {"reverse_rao_blackwell", &batch.reverse_rao_blackwell},
          {"renoised_x", &batch.renoised_x},
          {"renoised_reward_grad", &batch.renoised_reward_grad}};
}

void move_to(at::Device device, TransitionBatch& batch) {
  KernelColumns& kernel = batch.kernel;
  std::vector<Tensor*> tensors{&batch.timestep,  &batch.next_timestep,  &batch.is_terminal,    &batch.weight,
                               &batch.alpha_bar, &batch.alpha_bar_next, &kernel.x_coefficient, &kernel.noise_coefficient,
                               &kernel.variance, &kernel.noise,         &kernel.noise_next,    &kernel.noise_step,
                               &kernel.alpha,    &batch.renoised_row,   &batch.slot_weight,    &batch.slot_terminal_weight};
  for (const auto& [name, tensor] : places_in(batch)) tensors.push_back(tensor);
  for (Tensor* tensor : tensors) {
    if (tensor->defined()) *tensor = to_device(*tensor, device);
  }
}

// A slot's plain mean, or the estimate of the mean over all its transitions: 1 / (chance of the step * steps), which adds up to 1 too.
double weight_of(std::size_t step, std::size_t rows, const std::vector<double>& inclusion) {
  return inclusion.empty() ? 1.0 / static_cast<double>(rows) : 1.0 / (inclusion[step] * static_cast<double>(inclusion.size()));
}

void describe_transitions(std::span<const SharedRecord> records, const StepTable& table, const CollateOptions& options,
                          TransitionBatch& batch) {
  std::vector<Transition> transitions;
  std::vector<std::int64_t> terminal, renoised_row;
  std::vector<double> slot_weight, terminal_weight;
  for (const auto& record : records) {
    const auto& rows = record->header.transitions;
    for (const auto& row : rows) {
      const auto step = static_cast<std::size_t>(row.step);
      transitions.push_back(table.transitions[step]);
      terminal.push_back(step + 1 == table.transitions.size() ? 1 : 0);
      slot_weight.push_back(weight_of(step, rows.size(), options.inclusion));
      terminal_weight.push_back(1.0 / static_cast<double>(rows.size()));
    }
    renoised_row.insert(renoised_row.end(), static_cast<std::size_t>(options.needs.renoised), std::ssize(transitions) - 1);
  }
  const auto column = [](const std::vector<double>& values) { return torch::tensor(values, at::kDouble).to(at::kFloat); };
  set_transitions(batch, transitions, at::kFloat);
  batch.is_terminal = torch::tensor(terminal, at::kLong).to(at::kBool);
  batch.slot_weight = column(slot_weight);
  batch.slot_terminal_weight = column(terminal_weight);
  batch.renoised_row = torch::tensor(renoised_row, at::kLong);
  batch.num_slots = static_cast<std::int64_t>(records.size());
}

}  // namespace

PromptEncoder::PromptEncoder(std::shared_ptr<ClipTextModel> text_encoder)
    : text_encoder_(std::move(text_encoder)), device_(text_encoder_->parameters().front().device()) {}

Tensor PromptEncoder::encode(const std::vector<std::int64_t>& token_ids) {
  const auto found = cache_.find(token_ids);
  if (found != cache_.end()) return found->second;
  const at::NoGradGuard no_grad;
  const Tensor ids = torch::tensor(token_ids, at::kLong).unsqueeze(0);
  return cache_[token_ids] = at_least_float(text_encoder_->forward(to_device(ids, device_)).last_hidden_state);
}

MicroBatch collate(std::span<const SharedRecord> records, const StepTable& table, const CollateOptions& options, PromptEncoder& prompts,
                   const std::vector<std::int64_t>& empty_prompt, const std::map<std::string, double>& norm_limits) {
  MicroBatch micro;
  const auto places = places_in(micro.transitions);
  for (const auto& name : tensor_names(options.needs)) {
    const Tensor rows = stack_rows(records, name);
    const auto limit = norm_limits.find(name);
    *places.at(name) = limit == norm_limits.end() ? rows : scale_down_rows(rows, limit->second);
  }
  describe_transitions(records, table, options, micro.transitions);
  move_to(options.device, micro.transitions);
  std::vector<Tensor> embeds;
  for (const auto& record : records) {
    const auto rows = static_cast<std::int64_t>(record->header.transitions.size());
    embeds.push_back(prompts.encode(record->header.token_ids).expand({rows, -1, -1}));
  }
  micro.conditioning = {at::cat(embeds), prompts.encode(empty_prompt)};
  return micro;
}

}  // namespace nabla
