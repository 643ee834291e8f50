#include "tests/learner/truth_training.h"

#include "learner/losses/residual_nabla_db.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cmath>

namespace nabla::truth {

namespace {

Tensor rows_like(const Tensor& x, double value) { return at::full({x.size(0)}, value, at::kDouble); }

// d of the sum of `function` over the rows / dx.
Tensor gradient_at(const Tensor& x, const std::function<Tensor(const Tensor&)>& function) {
  const Tensor leaf = x.detach().requires_grad_(true);
  return torch::autograd::grad({function(leaf).sum()}, {leaf})[0];
}

// d log N(y; mean(x), sigma^2) / dx.
Tensor reverse_score(const Tensor& x, const Tensor& y, double sigma, const std::function<Tensor(const Tensor&)>& mean) {
  return gradient_at(x, [&](const Tensor& leaf) { return (y - mean(leaf)).square() / (-2.0 * sigma * sigma); });
}

// [S,1,1,1], a number a slot.
Tensor draw(const TrainingOptions& options, RandomPurpose purpose, std::uint64_t index) {
  return normal_tensor({options.num_slots, 1, 1, 1}, Philox(options.seed, purpose, index)).to(at::kDouble);
}

}  // namespace

Case gaussian_case(double v) {
  // The noised prior is N(0,1) at every level: eps = -sqrt(1 - a) d log p / dx.
  return {[](const Tensor& x, double alpha_bar) { return std::sqrt(1.0 - alpha_bar) * x; }, [v](const Tensor& clean) { return v * clean; }};
}

Training::Training(const Case& truth_case, const StepTable& table, const TrainingOptions& options)
    : case_(truth_case),
      table_(table),
      options_(options),
      policy_(static_cast<std::int64_t>(table.transitions.size()), options.nodes),
      flow_(static_cast<std::int64_t>(table.transitions.size()) + 1, options.nodes),
      slots_of_(table.transitions.size()) {
  for (std::int64_t slot = 0; slot < options_.num_slots; ++slot) {
    for (const auto step : choose_transitions(options_.choice, options_.seed, slot))
      slots_of_[static_cast<std::size_t>(step)].push_back(slot);
  }
  sample_states();
}

void Training::sample_states() {
  Tensor x = draw(options_, RandomPurpose::kStartNoise, 0);
  for (const auto& transition : table_.transitions) {
    states_.push_back(x);
    noise_.push_back(draw(options_, RandomPurpose::kStepNoise, states_.size()));
    x = transition_mean(table_, transition, x, case_.reference_eps(x, transition.alpha_bar)) + transition.sigma * noise_.back();
  }
}

void Training::run() {
  for (std::size_t step = table_.transitions.size(); step-- > 0;) {
    for (LevelTables* trained : {&policy_, &flow_}) {
      const TransitionBatch batch = rows_of(step);
      minimize(*trained, [&] { return loss_of(step, batch); });
      if (!options_.objective.flow) break;
    }
  }
}

Tensor Training::policy_eps(std::size_t step, const Tensor& x) const {
  return case_.reference_eps(x, table_.transitions[step].alpha_bar) + policy_.at_level(static_cast<std::int64_t>(step), x);
}

Tensor Training::flow(std::size_t level, const Tensor& x) const { return flow_.at_level(static_cast<std::int64_t>(level), x); }

Tensor Training::flow_score(std::size_t step, const Tensor& x) const {
  const at::NoGradGuard no_grad;
  const double alpha_bar = table_.transitions[step].alpha_bar;
  const double gamma = options_.objective.gamma == RewardGamma::kOne      ? 1.0
                       : options_.objective.gamma == RewardGamma::kLinear ? std::sqrt(alpha_bar)
                                                                          : alpha_bar;
  return options_.objective.reward_scale * gamma * reward_gradient(step, x) + flow(step, x);
}

// As an actor takes it: of the clean prediction, at the final state of the state itself.
Tensor Training::reward_gradient(std::size_t level, const Tensor& x) const {
  const at::AutoGradMode with_graph(true);
  return gradient_at(x, [&](const Tensor& leaf) {
    if (level == table_.transitions.size()) return case_.log_reward(leaf);
    return case_.log_reward(predict_clean(table_.transitions[level], leaf, policy_eps(level, leaf)));
  });
}

// What actors send of the slots that chose this transition.
TransitionBatch Training::rows_of(std::size_t step) const {
  const Transition& transition = table_.transitions[step];
  const Tensor slots = torch::tensor(slots_of_[step], at::kLong);
  const auto reference = [&](const Tensor& x) { return case_.reference_eps(x, transition.alpha_bar); };
  const auto policy = [&](const Tensor& x) { return policy_eps(step, x); };
  const auto mean = [&](const auto& eps) {
    return [&table = table_, &transition, &eps](const Tensor& x) { return transition_mean(table, transition, x, eps(x)); };
  };
  TransitionBatch batch;
  batch.x = states_[step].index_select(0, slots);
  batch.eps_behaviour = policy(batch.x).detach();
  batch.eps_reference = reference(batch.x);
  batch.y = transition_mean(table_, transition, batch.x, batch.eps_behaviour) + transition.sigma * noise_[step].index_select(0, slots);
  batch.is_terminal = at::full({slots.numel()}, step + 1 == table_.transitions.size(), at::kBool);
  batch.weight = rows_like(batch.x, transition.weight.value());
  batch.alpha_bar = rows_like(batch.x, transition.alpha_bar);
  batch.alpha_bar_next = rows_like(batch.x, transition.alpha_bar_next);
  batch.slot_weight = rows_like(batch.x, 1.0 / static_cast<double>(rows_per_slot(options_.choice)));
  batch.num_slots = slots.numel();
  batch.reward_grad_y = reward_gradient(step + 1, batch.y);
  batch.reward_grad_x = reward_gradient(step, batch.x);
  batch.reverse_score_reference = reverse_score(batch.x, batch.y, transition.sigma, mean(reference));
  batch.reverse_score_policy = reverse_score(batch.x, batch.y, transition.sigma, mean(policy));
  tamper(batch);
  return batch;
}

void Training::tamper(TransitionBatch& batch) const {
  switch (options_.tampering) {
    case Tampering::kNone:
      return;
    case Tampering::kNoTerminalTarget:
      batch.reward_grad_y = batch.reward_grad_y.masked_fill(batch.is_terminal.view({-1, 1, 1, 1}), 0.0);
      return;
    case Tampering::kRewardSign:
      batch.reward_grad_x = -batch.reward_grad_x;
      batch.reward_grad_y = -batch.reward_grad_y;
      return;
    case Tampering::kReverseSign:
      std::swap(batch.reverse_score_reference, batch.reverse_score_policy);
      return;
  }
}

Tensor Training::loss_of(std::size_t step, const TransitionBatch& batch) const {
  Predictions predictions{policy_eps(step, batch.x), {}, {}};
  if (options_.objective.flow) {
    predictions.flow_x = flow(step, batch.x);
    predictions.flow_y = flow(step + 1, batch.y);
  }
  return residual_nabla_db(batch, predictions, options_.objective).loss;
}

Law output_law(const Training& training, const StepTable& table) {
  const at::NoGradGuard no_grad;
  const Tensor points = torch::tensor({0.0, 1.0}, at::kDouble).view({2, 1, 1, 1});
  Law law;
  for (std::size_t step = 0; step < table.transitions.size(); ++step) {
    const Transition& transition = table.transitions[step];
    const Tensor mean = transition_mean(table, transition, points, training.policy_eps(step, points)).flatten();
    const double shift = mean[0].item<double>(), slope = mean[1].item<double>() - shift;
    law = {slope * law.mean + shift, slope * slope * law.variance + transition.sigma * transition.sigma};
  }
  return law;
}

}  // namespace nabla::truth
