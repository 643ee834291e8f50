#include "launch/truth/mlp_training.h"

#include "common/error.h"
#include "learner/transition_choice.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

namespace nabla::truth {

namespace {

// Updates that trajectories of one policy are sampled for, as in the published algorithm. Every sampling takes the flow one step of bootstrapping
// on, so that few updates each let the reward through the chain's many levels soonest.
constexpr std::int64_t kUpdatesAPool = 2;
constexpr double kMaxGradNorm = 1.0;
constexpr std::int64_t kUpdatesAReport = 24;

std::int64_t rows_of_a_slot(const TruthCase& problem) {
  TransitionChoice choice;
  choice.num_steps = problem.steps;
  return rows_per_slot(choice);
}

std::vector<double> policy_scales(const StepTable& table) {
  std::vector<double> scales;
  for (const auto& transition : table.transitions) scales.push_back(1.0 / transition.weight.value());
  scales.push_back(0.0);  // nothing is predicted at the final state
  return scales;
}

AdamWOptions adam_options(const TruthCase& problem) {
  AdamWOptions options;
  options.lr = problem.training.learning_rate;
  options.weight_decay = 0.0;
  return options;
}

// Every tensor of a batch, as what it is replaced by.
template <class Replace>
void for_each_tensor(TransitionBatch& batch, Replace replace) {
  KernelColumns& kernel = batch.kernel;
  for (Tensor* tensor : {&batch.x,
                         &batch.y,
                         &batch.timestep,
                         &batch.next_timestep,
                         &batch.is_terminal,
                         &batch.weight,
                         &batch.alpha_bar,
                         &batch.alpha_bar_next,
                         &batch.eps_behaviour,
                         &batch.eps_reference,
                         &batch.reward_grad_y,
                         &batch.reward_grad_x,
                         &batch.reverse_score_reference,
                         &batch.reverse_score_policy,
                         &batch.slot_weight,
                         &kernel.x_coefficient,
                         &kernel.noise_coefficient,
                         &kernel.variance,
                         &kernel.noise,
                         &kernel.noise_next,
                         &kernel.noise_step,
                         &kernel.alpha}) {
    if (tensor->defined()) *tensor = replace(*tensor);
  }
}

TransitionBatch chosen_rows(TransitionBatch batch, const Tensor& rows) {
  for_each_tensor(batch, [&](const Tensor& tensor) { return tensor.index_select(0, rows); });
  return batch;
}

TransitionBatch joined_rows(std::vector<TransitionBatch> parts) {
  TransitionBatch all = parts.front();
  std::vector<std::vector<Tensor>> columns;
  for (auto& part : parts) {
    std::vector<Tensor> tensors;
    for_each_tensor(part, [&](const Tensor& tensor) {
      tensors.push_back(tensor);
      return tensor;
    });
    columns.resize(tensors.size());
    for (std::size_t i = 0; i < tensors.size(); ++i) columns[i].push_back(tensors[i]);
  }
  std::size_t next = 0;
  for_each_tensor(all, [&](const Tensor&) { return at::cat(columns[next++]); });
  return all;
}

}  // namespace

MlpTraining::MlpTraining(const TruthCase& problem, const StepTable& table, const ReferenceModel& reference)
    : problem_(problem),
      table_(table),
      reference_(reference),
      maker_(problem, table, reference),
      objective_(make_objective(objective_of(problem))),
      change_(table, reference, policy_scales(table), problem.dimensions(), Philox(problem.seed, RandomPurpose::kInitialization, 0)),
      flow_(table, reference, std::vector<double>(table.transitions.size() + 1, 1.0), problem.dimensions(),
            Philox(problem.seed, RandomPurpose::kInitialization, 1)),
      policy_optimizer_(change_.parameters(), adam_options(problem)),
      flow_optimizer_(flow_.parameters(), adam_options(problem)) {}

void MlpTraining::run(const std::function<void(std::int64_t)>& observer) {
  const std::int64_t slots = std::max<std::int64_t>(1, problem_.training.batch / rows_of_a_slot(problem_));
  Pool pool;
  for (std::int64_t done = 0; done < problem_.training.updates; ++done) {
    if (observer && done % kUpdatesAReport == 0) observer(done);
    if (done % kUpdatesAPool == 0) pool = sample_pool(done * slots, kUpdatesAPool * slots);
    update(pool, done % kUpdatesAPool * slots, slots);
    if (4 * done >= 3 * problem_.training.updates) add_to_average();
  }
  take_average();
  if (observer) observer(problem_.training.updates);
}

MlpTraining::Pool MlpTraining::sample_pool(std::int64_t first_slot, std::int64_t num_slots) const {
  const auto states = sample_slots(problem_, table_, reference_, change_, first_slot, num_slots);
  const auto slots = slots_by_transition(problem_, first_slot, num_slots);
  std::vector<TransitionBatch> parts;
  std::vector<Tensor> steps, owners, features_x, features_y;
  for (std::size_t step = 0; step < slots.size(); ++step) {
    if (slots[step].empty()) continue;
    const at::NoGradGuard no_grad;
    const Tensor owner = torch::tensor(slots[step], at::kLong);
    const Tensor x = states[step].index_select(0, owner), y = states[step + 1].index_select(0, owner);
    parts.push_back(maker_.evaluate(step, x, y, reference_.eps(step, x) + change_.at(step, x), change_));
    parts.back().slot_weight = at::full({x.size(0)}, 1.0 / static_cast<double>(rows_of_a_slot(problem_)), at::kDouble);
    steps.push_back(at::full({x.size(0)}, static_cast<std::int64_t>(step), at::kLong));
    owners.push_back(owner);
    features_x.push_back(change_.features(step, x));
    features_y.push_back(flow_.features(step + 1, y));
  }
  const Tensor order = at::argsort(at::cat(owners), /*stable=*/true, 0, false);
  const auto in_order = [&](const std::vector<Tensor>& columns) { return at::cat(columns).index_select(0, order); };
  return {chosen_rows(joined_rows(std::move(parts)), order), in_order(steps), in_order(features_x), in_order(features_y)};
}

void MlpTraining::update(const Pool& pool, std::int64_t first_slot, std::int64_t num_slots) {
  const std::int64_t rows = rows_of_a_slot(problem_);
  const Tensor chosen = at::arange(first_slot * rows, (first_slot + num_slots) * rows, at::kLong);
  const TransitionBatch batch = chosen_rows(pool.rows, chosen);
  policy_optimizer_.zero_grad();
  flow_optimizer_.zero_grad();
  const Tensor loss = objective_->compute(batch, predict(pool, batch, chosen)).loss;
  if (!std::isfinite(loss.item<double>()))
    throw Error(ExitCode::kNonFinite, fmt::format("[truth] {}: the loss is not finite; lower training.learning_rate", problem_.name));
  loss.backward();
  for (AdamW* optimizer : {&policy_optimizer_, &flow_optimizer_}) {
    scale_gradients(optimizer->parameters(), 1.0 / static_cast<double>(num_slots));
    clip_grad_norm(optimizer->parameters(), kMaxGradNorm);
    optimizer->step();
  }
}

Predictions MlpTraining::predict(const Pool& pool, const TransitionBatch& batch, const Tensor& chosen) const {
  const Tensor step = pool.step.index_select(0, chosen), features_x = pool.features_x.index_select(0, chosen);
  Predictions predictions;
  predictions.eps = batch.eps_reference + as_latents(change_.at_features(step, features_x));
  if (!problem_.flow) return predictions;
  predictions.flow_x = as_latents(flow_.at_features(step, features_x));
  predictions.flow_y = as_latents(flow_.at_features(step + 1, pool.features_y.index_select(0, chosen)));
  return predictions;
}

void MlpTraining::add_to_average() {
  const at::NoGradGuard no_grad;
  std::vector<Tensor> parameters = change_.parameters();
  parameters.insert(parameters.end(), flow_.parameters().begin(), flow_.parameters().end());
  if (sums_.empty()) {
    for (const auto& parameter : parameters) sums_.push_back(at::zeros_like(parameter));
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) sums_[i].add_(parameters[i]);
  ++num_averaged_;
}

void MlpTraining::take_average() {
  const at::NoGradGuard no_grad;
  std::vector<Tensor> parameters = change_.parameters();
  parameters.insert(parameters.end(), flow_.parameters().begin(), flow_.parameters().end());
  for (std::size_t i = 0; i < sums_.size(); ++i) parameters[i].copy_(sums_[i] / static_cast<double>(num_averaged_));
}

}  // namespace nabla::truth
