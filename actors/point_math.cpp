#include "actors/point_math.h"

#include "common/device/transfer.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

namespace nabla {

namespace {

template <class Member>
Tensor column(const StepTable& table, const std::vector<std::int32_t>& steps, const at::TensorOptions& latents, Member member) {
  std::vector<double> values;
  values.reserve(steps.size());
  for (const auto step : steps) values.push_back(member(table.transitions[static_cast<std::size_t>(step)]));
  const Tensor made = torch::tensor(values, at::kDouble).to(latents.dtype()).view({-1, 1, 1, 1});
  return to_device(made, latents.device());
}

}  // namespace

RowCoefficients row_coefficients(const StepTable& table, const std::vector<std::int32_t>& steps, const at::TensorOptions& latents,
                                 bool alpha_bar_bf16) {
  const auto col = [&](auto member) { return column(table, steps, latents, member); };
  const auto level = [&](double alpha_bar) {
    return alpha_bar_bf16 ? static_cast<double>(static_cast<float>(c10::BFloat16(static_cast<float>(alpha_bar)))) : alpha_bar;
  };
  return {
      col([](const Transition& t) { return t.x_coefficient; }),
      col([](const Transition& t) { return t.noise_coefficient; }),
      col([](const Transition& t) { return t.sigma * t.sigma; }),
      col([&](const Transition& t) { return 1.0 / std::sqrt(level(t.alpha_bar)); }),
      col([&](const Transition& t) { return std::sqrt(1.0 - level(t.alpha_bar)); }),
      col([&](const Transition& t) { return 1.0 / std::sqrt(level(t.alpha_bar_next)); }),
      col([&](const Transition& t) { return std::sqrt(1.0 - level(t.alpha_bar_next)); }),
  };
}

Tensor pull_back(const Tensor& output, const Tensor& input, const Tensor& cotangent, bool retain_graph) {
  return torch::autograd::grad({output}, {input}, {cotangent}, retain_graph)[0];
}

Tensor pull_back_mean(const RowCoefficients& rows, const Tensor& x, const Tensor& eps, const Tensor& cotangent, bool retain_graph) {
  return rows.x_coefficient * cotangent - rows.noise_coefficient * pull_back(eps, x, cotangent, retain_graph);
}

std::pair<Tensor, Tensor> PictureReward::gradient(const Tensor& clean, const Tensor& latent, const std::vector<std::string>& prompts) {
  decoded_rows += clean.size(0);
  if (rows_at_once_ > 0 && rows_at_once_ < clean.size(0)) return gradient_in_slices(clean, latent, prompts);
  const Tensor images = decode_image(vae_, clean);
  const RewardGradient result = reward_gradient(reward_, images.detach(), prompts);
  return {result.score, pull_back(images, latent, result.grad_image, false)};
}

// Each slice's graph is gone before the next one's; what lies before the clean latents is taken back once.
std::pair<Tensor, Tensor> PictureReward::gradient_in_slices(const Tensor& clean, const Tensor& latent,
                                                            const std::vector<std::string>& prompts) {
  std::vector<Tensor> scores, gradients;
  for (std::int64_t first = 0; first < clean.size(0); first += rows_at_once_) {
    const std::int64_t count = std::min(rows_at_once_, clean.size(0) - first);
    const Tensor slice = clean.detach().narrow(0, first, count).requires_grad_(true);
    const Tensor images = decode_image(vae_, slice);
    const RewardGradient result = reward_gradient(reward_, images.detach(), {prompts.begin() + first, prompts.begin() + first + count});
    scores.push_back(result.score);
    gradients.push_back(pull_back(images, slice, result.grad_image, false));
  }
  const Tensor gradient = at::cat(gradients);
  return {at::cat(scores), clean.is_same(latent) ? gradient : pull_back(clean, latent, gradient, false)};
}

Tensor PictureReward::score(const Tensor& clean, const std::vector<std::string>& prompts) {
  const at::NoGradGuard no_grad;
  scored_rows += clean.size(0);
  return reward_.score(decode_image_sliced(vae_, clean, rows_at_once_), prompts).detach();
}

}  // namespace nabla
