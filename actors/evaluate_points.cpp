#include "actors/evaluate_points.h"

#include "common/error.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

namespace nabla {

namespace {

// Coefficients of each row's own transition, [R,1,1,1] in the dtype of the latents; made in double.
struct RowCoefficients {
  Tensor x_coefficient, noise_coefficient, variance;  // mean = x_coefficient x - noise_coefficient eps
  Tensor clean_scale_x, clean_noise_x;                // x-hat(x) = clean_scale (x - clean_noise eps)
  Tensor clean_scale_y, clean_noise_y;
};

template <class Member>
Tensor column(const StepTable& table, const std::vector<std::int32_t>& steps, at::ScalarType dtype, Member member) {
  std::vector<double> values;
  values.reserve(steps.size());
  for (const auto step : steps) values.push_back(member(table.transitions[static_cast<std::size_t>(step)]));
  return torch::tensor(values, at::kDouble).to(dtype).view({-1, 1, 1, 1});
}

RowCoefficients row_coefficients(const StepTable& table, const std::vector<std::int32_t>& steps, at::ScalarType dtype) {
  const auto col = [&](auto member) { return column(table, steps, dtype, member); };
  return {
      col([](const Transition& t) { return t.x_coefficient; }),
      col([](const Transition& t) { return t.noise_coefficient; }),
      col([](const Transition& t) { return t.sigma * t.sigma; }),
      col([](const Transition& t) { return 1.0 / std::sqrt(t.alpha_bar); }),
      col([](const Transition& t) { return std::sqrt(1.0 - t.alpha_bar); }),
      col([](const Transition& t) { return 1.0 / std::sqrt(t.alpha_bar_next); }),
      col([](const Transition& t) { return std::sqrt(1.0 - t.alpha_bar_next); }),
  };
}

Tensor gradient(const Tensor& output, const Tensor& input, const Tensor& cotangent, bool retain_graph) {
  return torch::autograd::grad({output}, {input}, {cotangent}, retain_graph)[0];
}

ChosenPoints select_rows(const ChosenPoints& points, const Tensor& rows) {
  ChosenPoints part;
  part.x = points.x.index_select(0, rows);
  part.y = points.y.index_select(0, rows);
  part.timestep = points.timestep.index_select(0, rows);
  part.next_timestep = points.next_timestep.index_select(0, rows);
  part.is_terminal = points.is_terminal.index_select(0, rows);
  part.conditioning = {points.conditioning.prompt_embeds.index_select(0, rows), points.conditioning.negative_embeds};
  if (points.terminal_latents.defined()) part.terminal_latents = points.terminal_latents.index_select(0, rows);
  const auto* row = rows.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < rows.numel(); ++i) {
    part.steps.push_back(points.steps[static_cast<std::size_t>(row[i])]);
    part.prompts.push_back(points.prompts[static_cast<std::size_t>(row[i])]);
  }
  return part;
}

// J_mu(x)^T (y - mu)/sigma^2 for mu = c x - k eps(x); `eps` has its graph to `x`.
Tensor reverse_score(const RowCoefficients& rows, const Tensor& x, const Tensor& y, const Tensor& eps, bool retain_graph) {
  const Tensor fixed = eps.detach();
  const Tensor mean = rows.x_coefficient * x.detach() - rows.noise_coefficient * fixed;
  const Tensor cotangent = (y - mean) / rows.variance;
  return rows.x_coefficient * cotangent - rows.noise_coefficient * gradient(eps, x, cotangent, retain_graph);
}

class PointEvaluator {
 public:
  PointEvaluator(Policy& policy, AutoencoderKL& vae, RewardModel& reward, const StepTable& table, const PointOptions& options)
      : policy_(policy), vae_(vae), reward_(reward), table_(table), options_(options) {}

  PointTensors evaluate(const ChosenPoints& points) {
    coefficients_ = row_coefficients(table_, points.steps, points.x.scalar_type());
    PointTensors out;
    decoded_rows_ = 0;
    begin("reference");
    reference_at_x(points, out);
    begin("reward_gradient");
    policy_at_x(points, out);
    evaluate_at_y(points, out);
    out.decoded_rows = decoded_rows_;
    return out;
  }

 private:
  void begin(const char* stage) const {
    if (options_.on_stage) options_.on_stage(stage);
  }

  // Reward of the clean picture and its gradient in the latent; `latent` needs a gradient.
  std::pair<Tensor, Tensor> reward_at(const Tensor& clean, const Tensor& latent, const std::vector<std::string>& prompts,
                                      bool retain_graph) {
    const Tensor decoded = decode_image(vae_, clean);
    const Tensor images = decoded.to(c10::promoteTypes(decoded.scalar_type(), at::kFloat));
    decoded_rows_ += clean.size(0);
    const RewardGradient result = reward_gradient(reward_, images.detach(), prompts);
    return {result.score, gradient(images, latent, result.grad_image, retain_graph)};
  }

  void policy_at_x(const ChosenPoints& points, PointTensors& out) {
    const bool policy_gradient = options_.reverse && options_.gradient == GradientKind::kPolicyFl;
    if (!options_.reverse && !options_.behaviour) return;
    const Tensor x = points.x.detach().requires_grad_(options_.reverse);
    const at::AutoGradMode grad_mode(options_.reverse);
    const Tensor eps = policy_.predict(WeightMode::kMerged, x, points.timestep, points.conditioning);
    if (options_.behaviour) out.eps_behaviour = eps.detach();
    if (!options_.reverse) return;
    out.reverse_score_policy = reverse_score(coefficients_, x, points.y, eps, policy_gradient);
    policy_.counters.backwards += x.size(0);
    if (!policy_gradient) return;
    const Tensor clean = (x - coefficients_.clean_noise_x * eps) * coefficients_.clean_scale_x;
    out.reward_grad_x = reward_at(clean, x, points.prompts, false).second;
    policy_.counters.backwards += x.size(0);
  }

  void reference_at_x(const ChosenPoints& points, PointTensors& out) {
    const Tensor x = points.x.detach().requires_grad_(options_.reverse);
    const at::AutoGradMode grad_mode(options_.reverse);
    const Tensor eps = policy_.predict(WeightMode::kBase, x, points.timestep, points.conditioning);
    out.eps_reference = eps.detach();
    if (!options_.reverse) return;
    const bool reference_gradient = options_.gradient == GradientKind::kReferenceFl;
    out.reverse_score_reference = reverse_score(coefficients_, x, points.y, eps, reference_gradient);
    policy_.counters.backwards += x.size(0);
    if (!reference_gradient) return;
    const Tensor clean = (x - coefficients_.clean_noise_x * eps) * coefficients_.clean_scale_x;
    out.reward_grad_x = reward_at(clean, x, points.prompts, false).second;
    policy_.counters.backwards += x.size(0);
  }

  void evaluate_at_y(const ChosenPoints& points, PointTensors& out) {
    out.rewards = at::zeros({points.y.size(0)}, points.y.options());
    out.reward_grad_y = at::zeros_like(points.y);
    if (options_.gradient == GradientKind::kTerminal) {
      terminal_for_all(points, out);
      return;
    }
    const Tensor terminal = points.is_terminal.nonzero().flatten();
    const Tensor others = points.is_terminal.logical_not().nonzero().flatten();
    if (terminal.numel() > 0) decoded_rows(points, terminal, points.y, out);
    if (others.numel() > 0) predicted_rows(points, others, out);
  }

  // x-hat(y) = y: no network but the decoder and the reward.
  void decoded_rows(const ChosenPoints& points, const Tensor& rows, const Tensor& latents, PointTensors& out) {
    const at::AutoGradMode grad_mode(true);
    const ChosenPoints part = select_rows(points, rows);
    const Tensor y = latents.index_select(0, rows).detach().requires_grad_(true);
    const auto [score, grad] = reward_at(y, y, part.prompts, false);
    out.rewards.index_copy_(0, rows, score.to(out.rewards.scalar_type()));
    out.reward_grad_y.index_copy_(0, rows, grad);
  }

  void predicted_rows(const ChosenPoints& points, const Tensor& rows, PointTensors& out) {
    const at::AutoGradMode grad_mode(true);
    const ChosenPoints part = select_rows(points, rows);
    const WeightMode mode = options_.gradient == GradientKind::kReferenceFl ? WeightMode::kBase : WeightMode::kMerged;
    const Tensor y = part.y.detach().requires_grad_(true);
    const Tensor eps = policy_.predict(mode, y, part.next_timestep, part.conditioning);
    const Tensor noise = coefficients_.clean_noise_y.index_select(0, rows);
    const Tensor scale = coefficients_.clean_scale_y.index_select(0, rows);
    const auto [score, grad] = reward_at((y - noise * eps) * scale, y, part.prompts, false);
    policy_.counters.backwards += y.size(0);
    out.rewards.index_copy_(0, rows, score.to(out.rewards.scalar_type()));
    out.reward_grad_y.index_copy_(0, rows, grad);
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
    const Tensor source = torch::tensor(first_of_row, at::kLong);
    out.rewards = out.rewards.index_select(0, source);
    out.reward_grad_y = out.reward_grad_y.index_select(0, source);
    if (options_.reverse) out.reward_grad_x = out.reward_grad_y;
  }

  Policy& policy_;
  AutoencoderKL& vae_;
  RewardModel& reward_;
  const StepTable& table_;
  PointOptions options_;
  RowCoefficients coefficients_;
  std::int64_t decoded_rows_ = 0;
};

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
    throw usage_error("[actor] transition {} has no noise (sigma = 0), so it has no density to train with; use sampling.eta > 0", step);
  }
}

}  // namespace

GradientKind gradient_kind_from_name(const std::string& name) {
  if (name == "policy_fl") return GradientKind::kPolicyFl;
  if (name == "reference_fl") return GradientKind::kReferenceFl;
  if (name == "terminal") return GradientKind::kTerminal;
  throw usage_error("[actor] model.gradient is '{}'; expected policy_fl, reference_fl or terminal", name);
}

PointTensors evaluate_points(Policy& policy, AutoencoderKL& vae, RewardModel& reward, const StepTable& table, const ChosenPoints& points,
                             const PointOptions& options) {
  refuse_untrainable(table, points);
  PointEvaluator evaluator(policy, vae, reward, table, options);
  PointTensors all;
  for (std::int64_t first = 0; first < points.x.size(0); first += options.chunk_rows) {
    const Tensor rows = at::arange(first, std::min(first + options.chunk_rows, points.x.size(0)), at::kLong);
    const PointTensors part = evaluator.evaluate(select_rows(points, rows));
    append(all.eps_behaviour, part.eps_behaviour);
    append(all.eps_reference, part.eps_reference);
    append(all.reward_grad_y, part.reward_grad_y);
    append(all.reward_grad_x, part.reward_grad_x);
    append(all.reverse_score_reference, part.reverse_score_reference);
    append(all.reverse_score_policy, part.reverse_score_policy);
    append(all.rewards, part.rewards);
    all.decoded_rows += part.decoded_rows;
  }
  return all;
}

}  // namespace nabla
