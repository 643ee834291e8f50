#include "actors/evaluate_points.h"

#include "actors/lean_adjoint.h"
#include "actors/point_math.h"
#include "common/device/transfer.h"
#include "common/error.h"

#include <torch/types.h>

#include <cmath>

namespace nabla {

namespace {

// Numbers of rows, made on the CPU, where the latents are.
Tensor beside(const Tensor& latents, const Tensor& rows) { return to_device(rows, latents.device()); }

ChosenPoints select_rows(const ChosenPoints& points, const Tensor& rows) {
  ChosenPoints part;
  const Tensor there = beside(points.x, rows);
  part.x = points.x.index_select(0, there);
  part.y = points.y.index_select(0, there);
  part.timestep = points.timestep.index_select(0, rows);
  part.next_timestep = points.next_timestep.index_select(0, rows);
  part.is_terminal = points.is_terminal.index_select(0, rows);
  part.conditioning = {points.conditioning.prompt_embeds.index_select(0, there), points.conditioning.negative_embeds};
  if (points.terminal_latents.defined()) part.terminal_latents = points.terminal_latents.index_select(0, there);
  if (points.eps_behaviour.defined()) part.eps_behaviour = points.eps_behaviour.index_select(0, there);
  const auto* row = rows.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < rows.numel(); ++i) {
    part.steps.push_back(points.steps[static_cast<std::size_t>(row[i])]);
    part.prompts.push_back(points.prompts[static_cast<std::size_t>(row[i])]);
  }
  return part;
}

Tensor mean_of(const RowCoefficients& rows, const Tensor& x, const Tensor& eps) {
  return rows.x_coefficient * x.detach() - rows.noise_coefficient * eps.detach();
}

class PointEvaluator {
 public:
  PointEvaluator(Policy& policy, AutoencoderKL& vae, RewardModel& reward, const StepTable& table, const PointOptions& options)
      : policy_(policy), pictures_(vae, reward, options.decode_rows), table_(table), options_(options), want_(options.want) {}

  PointTensors evaluate(const ChosenPoints& points) {
    coefficients_ = row_coefficients(table_, points.steps, points.x.options(), options_.x0hat_bf16);
    PointTensors out;
    begin("reference");
    reference_at_x(points, out);
    begin("reward_gradient");
    policy_at_x(points, out);
    if (want_.reward_grad_x0) clean_gradient_at_x(points, out);
    evaluate_at_y(points, out);
    return out;
  }

  PictureReward& pictures() { return pictures_; }
  void begin(const char* stage) const {
    if (options_.on_stage) options_.on_stage(stage);
  }

 private:
  bool is(GradientKind kind) const { return options_.gradient == kind; }
  bool wants_gradient_at_x(GradientKind kind) const { return want_.reward_grad_x && is(kind); }

  // d log R(decode(x-hat(x))) / dx through the prediction `eps`.
  Tensor forward_looking_at_x(const ChosenPoints& points, const Tensor& x, const Tensor& eps) {
    const Tensor clean = (x - coefficients_.clean_noise_x * eps) * coefficients_.clean_scale_x;
    return pictures_.gradient(clean, x, points.prompts).second;
  }

  // J_mean(x)^T (to - mean)/sigma^2.
  Tensor score_towards(const Tensor& to, const Tensor& x, const Tensor& eps, bool retain_graph) {
    return pull_back_mean(coefficients_, x, eps, (to - mean_of(coefficients_, x, eps)) / coefficients_.variance, retain_graph);
  }

  void policy_at_x(const ChosenPoints& points, PointTensors& out) {
    const bool policy_gradient = wants_gradient_at_x(GradientKind::kPolicyFl), with_graph = want_.reverse_score_policy || policy_gradient;
    if (!with_graph && !want_.eps_behaviour) return;
    const Tensor x = points.x.detach().requires_grad_(with_graph);
    const at::AutoGradMode grad_mode(with_graph);
    const Tensor eps = policy_.predict(WeightMode::kMerged, x, points.timestep, points.conditioning);
    if (want_.eps_behaviour) out.eps_behaviour = eps.detach();
    if (want_.reverse_score_policy) out.reverse_score_policy = score_towards(points.y, x, eps, policy_gradient);
    if (policy_gradient) out.reward_grad_x = forward_looking_at_x(points, x, eps);
  }

  void reference_at_x(const ChosenPoints& points, PointTensors& out) {
    const bool reference_gradient = wants_gradient_at_x(GradientKind::kReferenceFl);
    const bool with_graph = want_.reverse_score_reference || want_.reverse_rao_blackwell || reference_gradient;
    if (!with_graph && !want_.eps_reference) return;
    const Tensor x = points.x.detach().requires_grad_(with_graph);
    const at::AutoGradMode grad_mode(with_graph);
    const Tensor eps = policy_.predict(WeightMode::kBase, x, points.timestep, points.conditioning);
    out.eps_reference = eps.detach();
    if (want_.reverse_score_reference)
      out.reverse_score_reference = score_towards(points.y, x, eps, want_.reverse_rao_blackwell || reference_gradient);
    if (want_.reverse_rao_blackwell) {
      // Through the frozen network alone; the policy only says where its mean is (docs/objectives.md).
      const Tensor policy_mean = mean_of(coefficients_, points.x, behaviour_at_x(points));
      out.reverse_rao_blackwell = score_towards(policy_mean, x, eps, reference_gradient);
    }
    if (reference_gradient) out.reward_grad_x = forward_looking_at_x(points, x, eps);
  }

  Tensor behaviour_at_x(const ChosenPoints& points) {
    if (points.eps_behaviour.defined()) return points.eps_behaviour;
    const at::NoGradGuard no_grad;
    return policy_.predict(WeightMode::kMerged, points.x, points.timestep, points.conditioning);
  }

  // No network but the decoder and the reward: the gradient is in x-hat itself.
  void clean_gradient_at_x(const ChosenPoints& points, PointTensors& out) {
    const at::AutoGradMode grad_mode(true);
    const Tensor eps = behaviour_at_x(points);
    const Tensor clean = ((points.x - coefficients_.clean_noise_x * eps) * coefficients_.clean_scale_x).detach().requires_grad_(true);
    out.reward_grad_x0 = pictures_.gradient(clean, clean, points.prompts).second;
  }

  void evaluate_at_y(const ChosenPoints& points, PointTensors& out) {
    out.rewards = at::zeros({points.y.size(0)}, points.y.options());
    if (is(GradientKind::kLeanAdjoint)) return;
    const Tensor terminal = points.is_terminal.nonzero().flatten();
    if (!want_.reward_grad_y) {
      if (terminal.numel() == 0 || !want_.rewards) return;
      const ChosenPoints part = select_rows(points, terminal);
      out.rewards.index_copy_(0, beside(points.y, terminal), pictures_.score(part.y, part.prompts).to(out.rewards.scalar_type()));
      return;
    }
    out.reward_grad_y = at::zeros_like(points.y);
    if (is(GradientKind::kTerminal)) {
      terminal_for_all(points, out);
      return;
    }
    const Tensor others = points.is_terminal.logical_not().nonzero().flatten();
    if (terminal.numel() > 0) decoded_rows(points, terminal, points.y, out);
    if (others.numel() > 0) predicted_rows(points, others, out);
  }

  // x-hat(y) = y: no network but the decoder and the reward.
  void decoded_rows(const ChosenPoints& points, const Tensor& rows, const Tensor& latents, PointTensors& out) {
    const at::AutoGradMode grad_mode(true);
    const ChosenPoints part = select_rows(points, rows);
    const Tensor there = beside(latents, rows), y = latents.index_select(0, there).detach().requires_grad_(true);
    const auto [score, grad] = pictures_.gradient(y, y, part.prompts);
    out.rewards.index_copy_(0, there, score.to(out.rewards.scalar_type()));
    out.reward_grad_y.index_copy_(0, there, grad);
  }

  void predicted_rows(const ChosenPoints& points, const Tensor& rows, PointTensors& out) {
    const at::AutoGradMode grad_mode(true);
    const ChosenPoints part = select_rows(points, rows);
    const WeightMode mode = is(GradientKind::kReferenceFl) ? WeightMode::kBase : WeightMode::kMerged;
    const Tensor y = part.y.detach().requires_grad_(true);
    const Tensor eps = policy_.predict(mode, y, part.next_timestep, part.conditioning);
    const Tensor there = beside(y, rows);
    const Tensor noise = coefficients_.clean_noise_y.index_select(0, there);
    const Tensor scale = coefficients_.clean_scale_y.index_select(0, there);
    const auto [score, grad] = pictures_.gradient((y - noise * eps) * scale, y, part.prompts);
    out.rewards.index_copy_(0, there, score.to(out.rewards.scalar_type()));
    out.reward_grad_y.index_copy_(0, there, grad);
  }

  // Gradient kind "terminal": each row takes its trajectory's gradient at x_N, computed once a trajectory.
  void terminal_for_all(const ChosenPoints& points, PointTensors& out) {
    const Tensor& last = points.terminal_latents;
    const auto prompt_of = [&](std::int64_t row) -> const std::string& { return points.prompts[static_cast<std::size_t>(row)]; };
    std::vector<std::int64_t> first_of_row, distinct;
    for (std::int64_t row = 0; row < last.size(0); ++row) {
      const bool same = row > 0 && at::equal(last[row], last[distinct.back()]) && prompt_of(row) == prompt_of(distinct.back());
      if (!same) distinct.push_back(row);
      first_of_row.push_back(distinct.back());
    }
    decoded_rows(points, torch::tensor(distinct, at::kLong), last, out);
    const Tensor source = beside(last, torch::tensor(first_of_row, at::kLong));
    out.rewards = out.rewards.index_select(0, source);
    out.reward_grad_y = out.reward_grad_y.index_select(0, source);
    if (want_.reward_grad_x) out.reward_grad_x = out.reward_grad_y;
  }

  Policy& policy_;
  PictureReward pictures_;
  const StepTable& table_;
  PointOptions options_;
  PointWants want_;
  RowCoefficients coefficients_;
};

// The first row of each trajectory: rows of whole trajectories are as many each.
Tensor first_rows(const ChosenPoints& points, std::int64_t num_trajectories) {
  return at::arange(0, points.x.size(0), points.x.size(0) / num_trajectories, at::kLong);
}

// Whether lean adjoints are carried back over whole trajectories, which passes the base model at each of their states.
bool carries_back(const PointOptions& options) { return options.gradient == GradientKind::kLeanAdjoint && options.want.reward_grad_y; }

// Gradient kind "lean_adjoint": rows take the adjoints of their own states, and the reference predictions that came with them.
void attach_lean_adjoints(Policy& policy, const StepTable& table, const ChosenPoints& points, const PointOptions& options,
                          PointEvaluator& evaluator, PointTensors& all) {
  const auto& states = points.trajectories.states;
  if (states.size() != table.transitions.size() + 1) {
    throw failure(
        "[actor] gradient kind lean_adjoint needs every state of a trajectory, which only the actor that samples it has; use policy_fl, "
        "reference_fl or terminal for points of a log");
  }
  const at::AutoGradMode grad_mode(true);
  const std::int64_t num_trajectories = states.front().size(0), rows_each = points.x.size(0) / num_trajectories;
  const ChosenPoints each = select_rows(points, first_rows(points, num_trajectories));
  const Tensor last = states.back().detach().requires_grad_(true);
  const auto [score, gradient] = evaluator.pictures().gradient(last, last, each.prompts);
  const auto lean = lean_adjoints(policy, table, states, each.conditioning, gradient, [&] { evaluator.begin("reward_gradient"); });
  const bool with_reference = options.want.eps_reference && !all.eps_reference.defined();
  all.rewards = score.to(points.x.scalar_type()).repeat_interleave(rows_each);
  all.reward_grad_y = at::empty_like(points.y);
  if (with_reference) all.eps_reference = at::empty_like(points.x);
  if (options.want.reward_grad_x) all.reward_grad_x = at::empty_like(points.x);
  for (std::int64_t row = 0; row < points.x.size(0); ++row) {
    const auto step = static_cast<std::size_t>(points.steps[static_cast<std::size_t>(row)]);
    const std::int64_t trajectory = row / rows_each;
    all.reward_grad_y[row].copy_(lean.adjoints[step + 1][trajectory]);
    if (with_reference) all.eps_reference[row].copy_(lean.eps_reference[step][trajectory]);
    if (options.want.reward_grad_x) all.reward_grad_x[row].copy_(lean.adjoints[step][trajectory]);
  }
}

// DRaFT-LV: the final latents noised back to before the last transition, and the reward's gradient in that transition's mean from there.
void attach_renoisings(Policy& policy, const StepTable& table, const ChosenPoints& points, PointEvaluator& evaluator, PointTensors& all) {
  const Tensor noise = to_device(points.trajectories.renoising, points.y.device());
  const Transition& transition = table.transitions.back();
  const double alpha = transition.alpha_bar / transition.alpha_bar_next;
  const Tensor last = points.y.index_select(0, beside(points.y, points.is_terminal.nonzero().flatten()));
  const std::int64_t num_trajectories = last.size(0), samples = noise.size(0) / num_trajectories;
  const ChosenPoints each = select_rows(points, first_rows(points, num_trajectories));
  const Tensor timestep = at::full({num_trajectories}, transition.timestep, last.options().dtype(at::kLong));
  std::vector<Tensor> states, gradients;
  for (std::int64_t sample = 0; sample < samples; ++sample) {
    evaluator.begin("reward_gradient");
    const Tensor x = std::sqrt(alpha) * last + std::sqrt(1.0 - alpha) * noise.narrow(0, sample * num_trajectories, num_trajectories);
    const Tensor eps = [&] {
      const at::NoGradGuard no_grad;
      return policy.predict(WeightMode::kMerged, x, timestep, each.conditioning);
    }();
    const at::AutoGradMode grad_mode(true);
    const Tensor mean = transition_mean(table, transition, x, eps).detach().requires_grad_(true);
    states.push_back(x);
    gradients.push_back(evaluator.pictures().gradient(mean, mean, each.prompts).second);
  }
  all.renoised_x = at::stack(states, 1).flatten(0, 1);
  all.renoised_reward_grad = at::stack(gradients, 1).flatten(0, 1);
}

void append(Tensor& whole, const Tensor& part) {
  if (!part.defined()) return;
  whole = whole.defined() ? at::cat({whole, part}) : part;
}

void refuse_untrainable(const StepTable& table, const ChosenPoints& points) {
  if (table.clip_sample) {
    throw usage_error(
        "[actor] the scheduler clips its clean prediction (clip_sample: true), which has no transition density to train with; "
        "set clip_sample to false in scheduler_config.json");
  }
  for (const auto step : points.steps) {
    if (table.transitions[static_cast<std::size_t>(step)].sigma > 0.0) continue;
    throw usage_error(
        "[actor] transition {} has no noise (sigma = 0), so it has no density to train with; use sampling.eta > 0 and, in "
        "scheduler_config.json, set_alpha_to_one: false",
        step);
  }
}

}  // namespace

GradientKind gradient_kind_from_name(const std::string& name) {
  if (name == "policy_fl") return GradientKind::kPolicyFl;
  if (name == "reference_fl") return GradientKind::kReferenceFl;
  if (name == "terminal") return GradientKind::kTerminal;
  if (name == "lean_adjoint") return GradientKind::kLeanAdjoint;
  throw usage_error("[actor] model.gradient is '{}'; expected policy_fl, reference_fl, terminal or lean_adjoint", name);
}

PointTensors evaluate_points(Policy& policy, AutoencoderKL& vae, RewardModel& reward, const StepTable& table, const ChosenPoints& points,
                             const PointOptions& options) {
  refuse_untrainable(table, points);
  PointOptions by_chunk = options;
  by_chunk.want.eps_reference = options.want.eps_reference && !carries_back(options);
  PointEvaluator evaluator(policy, vae, reward, table, by_chunk);
  PointTensors all;
  for (std::int64_t first = 0; first < points.x.size(0); first += options.chunk_rows) {
    const Tensor rows = at::arange(first, std::min(first + options.chunk_rows, points.x.size(0)), at::kLong);
    const PointTensors part = evaluator.evaluate(select_rows(points, rows));
    append(all.eps_behaviour, part.eps_behaviour);
    append(all.eps_reference, part.eps_reference);
    append(all.reward_grad_y, part.reward_grad_y);
    append(all.reward_grad_x, part.reward_grad_x);
    append(all.reward_grad_x0, part.reward_grad_x0);
    append(all.reverse_score_reference, part.reverse_score_reference);
    append(all.reverse_score_policy, part.reverse_score_policy);
    append(all.reverse_rao_blackwell, part.reverse_rao_blackwell);
    append(all.rewards, part.rewards);
  }
  if (carries_back(options)) attach_lean_adjoints(policy, table, points, options, evaluator, all);
  if (points.trajectories.renoising.defined()) attach_renoisings(policy, table, points, evaluator, all);
  all.decoded_rows = evaluator.pictures().decoded_rows;
  all.scored_rows = evaluator.pictures().scored_rows;
  return all;
}

}  // namespace nabla
