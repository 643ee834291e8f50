#include "learner/update_step.h"

#include "common/error.h"

#include <torch/types.h>

#include <cmath>
#include <span>

namespace nabla {

namespace {

AdamWOptions adam_options(const TrainingConfig& training, double lr, double weight_decay) {
  return {lr, training.adam_beta1, training.adam_beta2, training.adam_epsilon, weight_decay};
}

RewardGamma gamma_from_name(const std::string& name) {
  if (name == "squared") return RewardGamma::kSquared;
  if (name == "linear") return RewardGamma::kLinear;
  if (name == "one") return RewardGamma::kOne;
  throw usage_error("[learner] model.reward_adaptive_mode is '{}'; squared, linear or one is expected", name);
}

std::string slots_text(const std::vector<SharedRecord>& records, std::size_t first, std::size_t count) {
  std::string text;
  for (std::size_t i = first; i < std::min(first + count, records.size()); ++i) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", records[i]->header.slot);
  }
  return text;
}

void add_record_metrics(const UpdateRecords& update, std::map<std::string, double>& metrics) {
  const auto count = static_cast<double>(update.records.size());
  double sum = 0, squares = 0, lag_sum = 0, lag_max = 0;
  for (const auto& record : update.records) sum += record->header.reward;
  for (const auto& record : update.records) {
    squares += std::pow(record->header.reward - sum / count, 2);
    const auto lag = static_cast<double>(policy_lag(update, *record));
    lag_sum += lag;
    lag_max = std::max(lag_max, lag);
  }
  metrics["reward_mean"] = sum / count;
  metrics["reward_std"] = std::sqrt(squares / count);
  metrics["policy_lag/mean"] = lag_sum / count;
  metrics["policy_lag/max"] = lag_max;
}

}  // namespace

ObjectiveConfig objective_of(const RunConfig& config) {
  ObjectiveConfig objective;
  objective.reward_scale = config.model.reward_scale * static_cast<double>(config.experiment.reward_sign);
  objective.reverse_loss_scale = config.model.reverse_loss_scale;
  objective.unet_reg_scale = config.model.unet_reg_scale;
  objective.flow = !config.model.no_flow;
  objective.gamma = gamma_from_name(config.model.reward_adaptive_mode);
  objective.gradient_uses_gamma = config.model.gradient == "policy_fl" || config.model.gradient == "reference_fl";
  objective.time_weighting = config.model.time_weighting == "uniform" ? TimeWeighting::kUniform : TimeWeighting::kW2;
  objective.flow_from_forward_loss = config.compat.flow_from_forward_loss;
  return objective;
}

UpdateStep::UpdateStep(const RunConfig& config, LearnerModel& model)
    : config_(config),
      objective_(objective_of(config)),
      model_(model),
      prompts_(model.text_encoder),
      policy_optimizer_(model.policy->lora().parameters(),
                        adam_options(config.training, config.training.lr, config.training.adam_weight_decay)) {
  if (model_.flow)
    flow_optimizer_.emplace(model_.flow->parameters(), adam_options(config.training, config.training.flow_lr, config.training.flow_wd));
}

std::optional<std::map<std::string, double>> UpdateStep::train(const UpdateRecords& update, const std::stop_token& stop) {
  if (update.records.empty()) throw failure("[learner] update {}: every slot was discarded, there is nothing to train on", update.update);
  policy_optimizer_.zero_grad();
  if (flow_optimizer_) flow_optimizer_->zero_grad();
  const auto batch_size = static_cast<std::size_t>(config_.training.batch_size);
  std::map<std::string, Tensor> terms;
  std::vector<Tensor> losses;
  for (std::size_t first = 0; first < update.records.size(); first += batch_size) {
    if (stop.stop_requested()) return std::nullopt;
    const std::span records(update.records.data() + first, std::min(batch_size, update.records.size() - first));
    const MicroBatch micro = collate(records, model_.table, objective_.flow, prompts_, model_.empty_prompt);
    const LossOutput output = residual_nabla_db(micro.transitions, predict(micro), objective_);
    output.loss.backward();
    model_.policy->counters.backwards += micro.transitions.x.size(0);
    losses.push_back(output.terms.at("loss"));
    for (const auto& [name, term] : output.terms) terms[name] = terms.contains(name) ? terms[name] + term : term;
  }

  const auto slots = static_cast<double>(update.records.size());
  std::map<std::string, double> metrics;
  for (const auto& [name, term] : terms) metrics[name] = term.item<double>() / slots;
  const auto reduce = [&](AdamW& optimizer) {
    scale_gradients(optimizer.parameters(), 1.0 / slots);
    return clip_grad_norm(optimizer.parameters(), config_.training.max_grad_norm);
  };
  metrics["grad_norm"] = reduce(policy_optimizer_);
  if (flow_optimizer_) metrics["grad_norm_flow"] = reduce(*flow_optimizer_);
  require_finite(update, losses, metrics["grad_norm"], flow_optimizer_ ? metrics["grad_norm_flow"] : 0.0);
  policy_optimizer_.step();
  if (flow_optimizer_) flow_optimizer_->step();
  add_record_metrics(update, metrics);
  return metrics;
}

Predictions UpdateStep::predict(const MicroBatch& micro) {
  Predictions predictions;
  predictions.eps = model_.policy->predict(WeightMode::kAdapter, micro.transitions.x, micro.transitions.timestep, micro.conditioning);
  if (model_.flow) predict_flow(micro, predictions);
  return predictions;
}

// g(x) and the terminal g(y) with a graph; the other g(y) only enter the forward target, where they are detached unless the configuration says
// otherwise, so they need none.
void UpdateStep::predict_flow(const MicroBatch& micro, Predictions& predictions) {
  const TransitionBatch& batch = micro.transitions;
  const Tensor& embeds = micro.conditioning.prompt_embeds;
  const Tensor trained = objective_.flow_from_forward_loss ? at::arange(batch.x.size(0), at::kLong) : batch.is_terminal.nonzero().flatten();
  const auto without_graph = [&](const Tensor& rows) {
    const at::NoGradGuard no_grad;
    return model_.flow->forward(batch.y.index_select(0, rows), batch.next_timestep.index_select(0, rows), embeds.index_select(0, rows));
  };
  const Tensor x_and_trained = at::cat({batch.x, batch.y.index_select(0, trained)});
  const Tensor timesteps = at::cat({batch.timestep, batch.next_timestep.index_select(0, trained)});
  const Tensor flow = model_.flow->forward(x_and_trained, timesteps, at::cat({embeds, embeds.index_select(0, trained)}));
  predictions.flow_x = flow.narrow(0, 0, batch.x.size(0));
  predictions.flow_y = flow.narrow(0, batch.x.size(0), trained.numel());
  flow_forwards_ += 2 * batch.x.size(0);
  flow_backwards_ += x_and_trained.size(0);
  if (trained.numel() == batch.x.size(0)) return;
  const Tensor others = batch.is_terminal.logical_not().nonzero().flatten();
  const Tensor order = at::cat({trained, others}).argsort();
  predictions.flow_y = at::cat({predictions.flow_y, without_graph(others)}).index_select(0, order);
}

void UpdateStep::require_finite(const UpdateRecords& update, const std::vector<Tensor>& losses, double grad_norm,
                                double flow_grad_norm) const {
  const auto batch_size = static_cast<std::size_t>(config_.training.batch_size);
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const double loss = losses[i].item<double>();
    if (std::isfinite(loss)) continue;
    throw Error(ExitCode::kNonFinite,
                fmt::format("[learner] update {}: the loss of slots {} is {}; lower training.lr or model.reward_scale", update.update,
                            slots_text(update.records, i * batch_size, batch_size), loss));
  }
  if (std::isfinite(grad_norm) && std::isfinite(flow_grad_norm)) return;
  throw Error(ExitCode::kNonFinite,
              fmt::format("[learner] update {}: the gradient norm is {} (flow network: {}) over slots {}; lower training.lr or "
                          "model.reward_scale",
                          update.update, grad_norm, flow_grad_norm, slots_text(update.records, 0, update.records.size())));
}

std::map<std::string, std::int64_t> UpdateStep::counters() const {
  return {{"learner_unet_forwards", model_.policy->counters.forwards},
          {"learner_unet_backwards", model_.policy->counters.backwards},
          {"learner_flow_forwards", flow_forwards_},
          {"learner_flow_backwards", flow_backwards_}};
}

}  // namespace nabla
