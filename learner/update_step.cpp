#include "learner/update_step.h"

#include "common/config/record_needs.h"
#include "common/device/transfer.h"
#include "common/error.h"
#include "common/failpoint.h"
#include "common/spread.h"
#include "learner/checkpoint/named_tensors.h"
#include "learner/lr_schedule.h"
#include "learner/make_optimizer.h"
#include "learner/transition_choice.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

namespace nabla {

namespace {

std::optional<WeightAverage> average_of(const RunConfig& config, Policy& policy) {
  if (config.training.ema_decay == 0) return std::nullopt;
  return WeightAverage(policy.lora(), config.training.ema_decay);
}

std::vector<double> inclusion_of(const RunConfig& config) {
  if (config.model.terminal_weighting == "official") return {};
  return inclusion_probabilities(transition_choice_of(config));
}

std::optional<RegularizerAnchor> anchor_of(const RunConfig& config, Policy& policy) {
  const std::string& name = config.model.unet_reg_anchor;
  if (name == "behaviour") return std::nullopt;
  const auto kind = name == "previous" ? RegularizerAnchor::Kind::kPrevious : RegularizerAnchor::Kind::kEma;
  return RegularizerAnchor(policy, kind, config.model.unet_reg_ema_decay);
}

std::string slots_text(const std::vector<std::int64_t>& slots) { return fmt::format("{}", fmt::join(slots, ", ")); }

void add_slot_metrics(const std::vector<SlotFacts>& slots, std::map<std::string, double>& metrics) {
  std::vector<double> rewards, lags;
  for (const auto& slot : slots) {
    rewards.push_back(slot.reward);
    lags.push_back(static_cast<double>(slot.policy_lag));
  }
  const Spread reward = spread_of(rewards);
  metrics["reward_mean"] = reward.mean;
  metrics["reward_std"] = reward.deviation;
  metrics["policy_lag/mean"] = spread_of(lags).mean;
  metrics["policy_lag/max"] = *std::max_element(lags.begin(), lags.end());
}

std::vector<Tensor> trained_parameters(const LearnerModel& model) {
  std::vector<Tensor> parameters = model.policy->lora().parameters();
  if (!model.flow) return parameters;
  const auto flow = model.flow->parameters();
  parameters.insert(parameters.end(), flow.begin(), flow.end());
  return parameters;
}

}  // namespace

UpdateStep::UpdateStep(const RunConfig& config, LearnerModel& model, std::shared_ptr<ProcessGroup> group)
    : config_(config),
      objective_config_(objective_of(config)),
      objective_(make_objective(objective_config_)),
      model_(model),
      collate_options_{record_needs_of(config), inclusion_of(config), model.device},
      prompts_(model.text_encoder),
      predictor_(*model.policy, model.flow, objective_config_,
                 config.model.flow_prompt_conditioned ? Predictor::FlowPrompt::kOwn : Predictor::FlowPrompt::kEmpty),
      reference_(config, objective_config_, *model.policy),
      anchor_(anchor_of(config, *model.policy)),
      average_(average_of(config, *model.policy)),
      policy_optimizer_(make_policy_optimizer(config.training, model.policy->lora().parameters())),
      flow_optimizer_(model.flow ? make_flow_optimizer(config.training, model.flow->parameters()) : nullptr),
      group_(std::move(group)),
      gradients_(*group_, trained_parameters(model)) {}

std::optional<std::map<std::string, double>> UpdateStep::train(const UpdateRecords& update, const std::stop_token& stop) {
  const double clip_percentile = config_.model.reward_grad_clip_percentile;
  const auto norms = clip_percentile == 0.0 ? GradientNorms::kNone : GradientNorms::kAll;
  slots_ = gather(*group_, facts_of(update, collate_options_.needs, norms));
  if (slots_.empty()) throw failure("[learner] update {}: every slot was discarded, there is nothing to train on", update.update);
  const UpdateStatistics statistics = statistics_of(slots_, clip_percentile);
  const std::vector<Part> parts = parts_of(update, statistics);
  const StepReport report = gather(*group_, accumulate(update, parts, stop));
  counters_ = report.counters;
  if (!report.problem.empty()) {
    non_finite_ = gather(*group_, non_finite_);
    throw Error(ExitCode::kNonFinite, report.problem);
  }
  if (report.stopped) return std::nullopt;
  gradients_.sum(report.has_gradient);

  const auto slots = static_cast<double>(slots_.size());
  std::map<std::string, double> metrics;
  for (const auto& [name, sum] : report.terms) metrics[name] = sum / slots;
  const auto reduce = [&](const Optimizer& optimizer) {
    scale_gradients(optimizer.parameters(), 1.0 / slots);
    return clip_grad_norm(optimizer.parameters(), config_.training.max_grad_norm);
  };
  metrics["grad_norm"] = reduce(*policy_optimizer_);
  if (flow_optimizer_) metrics["grad_norm_flow"] = reduce(*flow_optimizer_);
  require_finite(update.update, parts, metrics["grad_norm"], flow_optimizer_ ? metrics["grad_norm_flow"] : 0.0);
  step_optimizers(update.update);
  metrics["lr"] = config_.training.lr * lr_factor(config_.training, update.update);
  check_ranks();
  if (reference_.noise()) metrics["reference_noise"] = *reference_.noise();
  add_slot_metrics(slots_, metrics);
  return metrics;
}

// This rank's slots in micro-batches.
std::vector<UpdateStep::Part> UpdateStep::parts_of(const UpdateRecords& update, const UpdateStatistics& statistics) const {
  const auto batch_size = static_cast<std::size_t>(config_.training.batch_size);
  const auto own = std::find_if(slots_.begin(), slots_.end(), [&](const SlotFacts& slot) {
    return !update.records.empty() && slot.slot == update.records.front()->header.slot;
  });
  const std::span<const SharedRecord> records(update.records);
  const std::span<const double> advantages(statistics.advantages.begin() + (own - slots_.begin()), records.size());
  std::vector<Part> parts;
  for (std::size_t first = 0; first < records.size(); first += batch_size) {
    const std::size_t count = std::min(batch_size, records.size() - first);
    parts.push_back({records.subspan(first, count), advantages.subspan(first, count), statistics.norm_limits});
  }
  return parts;
}

// Leaves the sums of this rank's gradients in the parameters.
StepReport UpdateStep::accumulate(const UpdateRecords& update, const std::vector<Part>& parts, const std::stop_token& stop) {
  policy_optimizer_->zero_grad();
  if (flow_optimizer_) flow_optimizer_->zero_grad();
  std::map<std::string, Tensor> terms;
  std::vector<Tensor> losses;
  for (const Part& part : parts) {
    if (stop.stop_requested()) break;
    failpoint("learner.mid_train");
    const LossOutput output = compute(prepare(part));
    output.loss.backward();
    losses.push_back(output.terms.at("loss"));
    for (const auto& [name, term] : output.terms) terms[name] = terms.contains(name) ? terms[name] + term : term;
  }
  StepReport report;
  report.stopped = losses.size() < parts.size() || (parts.empty() && stop.stop_requested());
  report.problem = report.stopped ? "" : loss_problem(update.update, parts, losses);
  report.has_gradient = gradients_.present();
  report.counters = own_counters();
  for (const auto& [name, term] : terms) report.terms[name] = term.item<double>();
  return report;
}

// The anchor predicts here, before there is a graph to the weights that it swaps.
MicroBatch UpdateStep::prepare(const Part& part) {
  MicroBatch micro = collate(part.records, model_.table, collate_options_, prompts_, model_.empty_prompt, part.norm_limits);
  TransitionBatch& batch = micro.transitions;
  reference_.settle(batch, micro.conditioning);
  if (anchor_) batch.eps_anchor = anchor_->predict(batch.x, batch.timestep, micro.conditioning);
  std::vector<double> advantage;
  for (std::size_t i = 0; i < part.records.size(); ++i)
    advantage.insert(advantage.end(), part.records[i]->header.transitions.size(), part.advantages[i]);
  batch.advantage =
      static_cast<double>(config_.experiment.reward_sign) * to_device(torch::tensor(advantage, at::kDouble).to(at::kFloat), model_.device);
  return micro;
}

LossOutput UpdateStep::compute(const MicroBatch& micro) {
  return objective_->compute(micro.transitions, predictor_.predict(micro.transitions, micro.conditioning));
}

void UpdateStep::step_optimizers(std::int64_t update) {
  const double factor = lr_factor(config_.training, update);
  if (anchor_) anchor_->before_step();
  for (std::int64_t i = 0; i < config_.compat.adam_steps_per_grad; ++i) {
    policy_optimizer_->step(factor);
    if (flow_optimizer_) flow_optimizer_->step(factor);
  }
  if (anchor_) anchor_->after_step();
  if (average_) average_->after_step(update);
}

// Keeps the first micro-batch whose loss is not finite.
std::string UpdateStep::loss_problem(std::int64_t update, const std::vector<Part>& parts, const std::vector<Tensor>& losses) {
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const double loss = losses[i].item<double>();
    if (std::isfinite(loss)) continue;
    non_finite_ = non_finite_batch(parts[i].records, prepare(parts[i]), config_);
    return fmt::format("[learner] update {}: the loss of slots {} is {}; lower training.lr or model.reward_scale", update,
                       slots_text(non_finite_->slots), loss);
  }
  return "";
}

// The norms are those of all ranks, so all of them come to the same end.
void UpdateStep::require_finite(std::int64_t update, const std::vector<Part>& parts, double grad_norm, double flow_grad_norm) {
  if (std::isfinite(grad_norm) && std::isfinite(flow_grad_norm)) return;
  find_non_finite_gradient(parts);
  non_finite_ = gather(*group_, non_finite_);
  std::vector<std::int64_t> slots;
  for (const auto& slot : slots_) slots.push_back(slot.slot);
  throw Error(ExitCode::kNonFinite,
              fmt::format("[learner] update {}: the gradient norm is {} (flow network: {}) over slots {}; lower training.lr or "
                          "model.reward_scale",
                          update, grad_norm, flow_grad_norm, slots_text(non_finite_ ? non_finite_->slots : slots)));
}

// Goes through this rank's micro-batches once more, each on its own.
void UpdateStep::find_non_finite_gradient(const std::vector<Part>& parts) {
  for (const Part& part : parts) {
    policy_optimizer_->zero_grad();
    if (flow_optimizer_) flow_optimizer_->zero_grad();
    const MicroBatch micro = prepare(part);
    compute(micro).loss.backward();
    double squares = 0;
    for (const auto& parameter : trained_parameters(model_)) {
      if (parameter.grad().defined()) squares += parameter.grad().to(at::kDouble).square().sum().item<double>();
    }
    if (std::isfinite(squares)) continue;
    non_finite_ = non_finite_batch(part.records, micro, config_);
    return;
  }
}

// All ranks started alike and took the same steps, so their weights and optimisers have the same bits.
void UpdateStep::check_ranks() {
  ++trained_;
  const std::int64_t every = config_.learner.digest_every;
  if (group_->size() == 1 || every == 0 || trained_ % every != 0) return;
  const std::string flow = flow_optimizer_ ? flow_optimizer_->digest() : "";
  require_same(*group_, fmt::format("weights and optimisers after {} updates", trained_), policy_optimizer_->digest() + flow);
}

TensorMap UpdateStep::state() const {
  TensorMap state;
  add_with_prefix(state, "lora.", copies_of(model_.policy->lora().tensors()));
  add_with_prefix(state, "lora_optimizer.", policy_optimizer_->state());
  if (anchor_) add_with_prefix(state, "anchor.", anchor_->values());
  add_with_prefix(state, "reference.", reference_.state());
  if (average_) add_with_prefix(state, "ema.", average_->values());
  if (!flow_optimizer_) return state;
  add_with_prefix(state, "flow.", copies_of(parameters_by_name(*model_.flow)));
  add_with_prefix(state, "flow_optimizer.", flow_optimizer_->state());
  return state;
}

void UpdateStep::load_state(const TensorMap& state) {
  copy_values("LoRA", with_prefix(state, "lora."), model_.policy->lora().tensors());
  policy_optimizer_->load(with_prefix(state, "lora_optimizer."));
  if (anchor_) anchor_->load(with_prefix(state, "anchor."));
  reference_.load(with_prefix(state, "reference."));
  load_average(with_prefix(state, "ema."));
  if (!flow_optimizer_) return;
  copy_values("flow network", with_prefix(state, "flow."), parameters_by_name(*model_.flow));
  flow_optimizer_->load(with_prefix(state, "flow_optimizer."));
}

// It decides no weights, so a run may begin it, or leave it, where it goes on.
void UpdateStep::load_average(const TensorMap& values) {
  if (!average_) return;
  if (!values.empty()) return average_->load(values);
  average_->restart();
}

std::map<std::string, std::int64_t> UpdateStep::counters() const { return counters_.empty() ? own_counters() : counters_; }

std::map<std::string, std::int64_t> UpdateStep::own_counters() const {
  return {{"learner_unet_forwards", model_.policy->counters.forwards},
          {"learner_unet_backwards", model_.policy->counters.backwards},
          {"learner_flow_forwards", predictor_.flow_forwards()},
          {"learner_flow_backwards", predictor_.flow_backwards()}};
}

}  // namespace nabla
