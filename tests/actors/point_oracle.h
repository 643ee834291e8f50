#pragma once

#include "actors/evaluate_points.h"
#include "tests/actors/tiny_model.h"

#include <torch/csrc/autograd/autograd.h>

#include <memory>
#include <string>
#include <vector>

namespace nabla {

inline constexpr std::int64_t kTrajectories = 2, kRowsEach = 3, kRows = kTrajectories * kRowsEach;

// Depends on the picture without being linear in it, and on the prompt.
class WordyReward : public RewardModel {
 public:
  Tensor score(const Tensor& images, const std::vector<std::string>& prompts) override {
    std::vector<double> lengths;
    for (const auto& prompt : prompts) lengths.push_back(0.1 * static_cast<double>(prompt.size()));
    const Tensor warmth = (images.select(1, 0).square() - images.select(1, 2)).mean({1, 2});
    return warmth * torch::tensor(lengths, images.options()) + images.prod(1).mean({1, 2});
  }
  std::string spec() const override { return "wordy"; }
};

// Networks, kernel and six points of two trajectories; `dtype` of everything.
struct PointScene {
  explicit PointScene(at::ScalarType dtype = at::kDouble, double guidance = 5.0) : guidance_scale(guidance) {
    const ModelFolder folder = model.open();
    unet = folder.load_unet(dtype);
    vae = folder.load_vae(dtype);
    table = make_step_table(folder.scheduler(), Sampler::kDdim, 10, 1.0);
    policy = std::make_unique<Policy>(unet, LoraConfig{.rank = 2, .alpha = 3.0}, guidance, 5);
    policy->load(some_lora(*policy));
    const std::vector<std::string> texts{"a red star", "three small green crosses"};
    const std::vector<std::int32_t> steps{1, 6, 9, 0, 3, 9};
    std::vector<std::int64_t> timestep, next_timestep, terminal;
    for (std::int64_t row = 0; row < kRows; ++row) {
      const Transition& transition = table.transitions[static_cast<std::size_t>(steps[static_cast<std::size_t>(row)])];
      timestep.push_back(transition.timestep);
      next_timestep.push_back(transition.next_timestep);
      terminal.push_back(row % kRowsEach == kRowsEach - 1 ? 1 : 0);
      points.prompts.push_back(texts[static_cast<std::size_t>(row / kRowsEach)]);
    }
    points.steps = steps;
    points.timestep = torch::tensor(timestep, at::kLong);
    points.next_timestep = torch::tensor(next_timestep, at::kLong);
    points.is_terminal = torch::tensor(terminal, at::kLong).to(at::kBool);
    points.x = draw({kRows, 4, 8, 8}, 1).to(dtype);
    points.y = points.x + 0.1 * draw({kRows, 4, 8, 8}, 2).to(dtype);
    points.terminal_latents = points.y.index_select(0, torch::tensor({2, 2, 2, 5, 5, 5}, at::kLong));
    points.conditioning = {draw({kTrajectories, 12, 6}, 3).repeat_interleave(kRowsEach, 0).to(dtype), draw({1, 12, 6}, 4).to(dtype)};
  }

  // States of whole trajectories, to which the points belong.
  void keep_states() {
    for (std::uint64_t step = 0; step <= table.transitions.size(); ++step)
      points.trajectories.states.push_back(draw({kTrajectories, 4, 8, 8}, 900 + step).to(points.x.scalar_type()));
    for (std::int64_t row = 0; row < kRows; ++row) {
      const auto step = static_cast<std::size_t>(points.steps[static_cast<std::size_t>(row)]);
      points.x[row].copy_(points.trajectories.states[step][row / kRowsEach]);
      points.y[row].copy_(points.trajectories.states[step + 1][row / kRowsEach]);
    }
    points.terminal_latents = points.trajectories.states.back().repeat_interleave(kRowsEach, 0);
  }

  PointTensors evaluate(const PointOptions& options) { return evaluate_points(*policy, *vae, reward, table, points, options); }
  const Transition& transition(std::int64_t row) const {
    return table.transitions[static_cast<std::size_t>(points.steps[static_cast<std::size_t>(row)])];
  }

  TinyModel model;
  double guidance_scale;
  std::shared_ptr<UNet2DConditionModel> unet;
  std::shared_ptr<AutoencoderKL> vae;
  StepTable table;
  std::unique_ptr<Policy> policy;
  WordyReward reward;
  ChosenPoints points;
};

// The definitions, one row at a time, each differentiated as a whole by autograd. Policy: the adapter as the learner computes it.
class PointOracle {
 public:
  explicit PointOracle(PointScene& scene) : scene_(scene) {}

  Tensor prediction(WeightMode mode, std::int64_t row, const Tensor& latents, const Tensor& timestep) {
    scene_.policy->lora().set_mode(mode);
    const Conditioning& conditioning = scene_.points.conditioning;
    const Tensor with = scene_.unet->forward(latents, timestep, conditioning.prompt_embeds.narrow(0, row, 1));
    if (scene_.guidance_scale == 1.0) return with;
    const Tensor without = scene_.unet->forward(latents, timestep, conditioning.negative_embeds);
    return without + scene_.guidance_scale * (with - without);
  }

  Tensor prediction_at_x(WeightMode mode, std::int64_t row) {
    return prediction(mode, row, row_of(scene_.points.x, row), time(row)).detach();
  }

  // d log P_F(y|x) / dx by differentiating the Gaussian itself.
  Tensor reverse_score(WeightMode mode, std::int64_t row) {
    const Tensor x = leaf(scene_.points.x, row), y = row_of(scene_.points.y, row);
    const Transition& transition = scene_.transition(row);
    const Tensor mean = transition_mean(scene_.table, transition, x, prediction(mode, row, x, time(row)));
    // log P = -|y - mean|^2 / (2 sigma^2) has the gradient J^T (y - mean) / sigma^2.
    return gradient(-(y - mean).square().sum() / (2.0 * transition.sigma * transition.sigma), x);
  }

  Tensor score_of(const Tensor& clean, std::int64_t row) {
    const Tensor image = ((scene_.vae->decode(clean / scene_.vae->config().scaling_factor) + 1.0) / 2.0).clamp(0.0, 1.0);
    return scene_.reward.score(image, {scene_.points.prompts[static_cast<std::size_t>(row)]}).sum();
  }

  Tensor score_at_y(WeightMode mode, std::int64_t row, const Tensor& y) {
    if (row % kRowsEach == kRowsEach - 1) return score_of(y, row);
    const double b = scene_.transition(row).alpha_bar_next;
    const Tensor time_y = scene_.points.next_timestep.narrow(0, row, 1);
    return score_of((y - std::sqrt(1.0 - b) * prediction(mode, row, y, time_y)) / std::sqrt(b), row);
  }

  Tensor reward_grad_y(WeightMode mode, std::int64_t row) {
    const Tensor y = leaf(scene_.points.y, row);
    return gradient(score_at_y(mode, row, y), y);
  }
  Tensor reward_grad_x(WeightMode mode, std::int64_t row) {
    const Tensor x = leaf(scene_.points.x, row);
    const double a = scene_.transition(row).alpha_bar;
    return gradient(score_of((x - std::sqrt(1.0 - a) * prediction(mode, row, x, time(row))) / std::sqrt(a), row), x);
  }
  Tensor terminal_gradient(std::int64_t row) {
    const Tensor last = leaf(scene_.points.terminal_latents, row);
    return gradient(score_of(last, row), last);
  }

  Tensor gradient_of_score(const Tensor& clean, std::int64_t row) {
    const Tensor at = clean.detach().clone().requires_grad_(true);
    return gradient(score_of(at, row), at);
  }
  Tensor reward_grad_x0(std::int64_t row) {
    const double a = scene_.transition(row).alpha_bar;
    return gradient_of_score(
        (row_of(scene_.points.x, row) - std::sqrt(1.0 - a) * prediction_at_x(WeightMode::kAdapter, row)) / std::sqrt(a), row);
  }
  // At every state, each the derivative of <the one behind it, the mean of the transition>.
  std::vector<Tensor> lean_adjoints(std::int64_t trajectory) {
    const std::int64_t row = kRowsEach * trajectory;
    const auto& states = scene_.points.trajectories.states;
    std::vector<Tensor> adjoints(states.size());
    adjoints.back() = gradient_of_score(row_of(states.back(), trajectory), row);
    for (std::size_t step = states.size() - 1; step-- > 0;) {
      const Transition& transition = scene_.table.transitions[step];
      const Tensor x = leaf(states[step], trajectory);
      const Tensor eps = prediction(WeightMode::kBase, row, x, torch::tensor({transition.timestep}, at::kLong));
      const Tensor mean = std::sqrt(transition.alpha_bar_next / transition.alpha_bar) * x - transition.noise_coefficient * eps;
      adjoints[step] = gradient((adjoints[step + 1] * mean).sum(), x);
    }
    return adjoints;
  }

  static Tensor row_of(const Tensor& all, std::int64_t row) { return all.narrow(0, row, 1); }

 private:
  static Tensor leaf(const Tensor& all, std::int64_t row) { return row_of(all, row).clone().requires_grad_(true); }
  static Tensor gradient(const Tensor& value, const Tensor& input) { return torch::autograd::grad({value}, {input})[0]; }
  Tensor time(std::int64_t row) const { return scene_.points.timestep.narrow(0, row, 1); }

  PointScene& scene_;
};

}  // namespace nabla
