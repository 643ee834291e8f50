#include "actors/point_math.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cmath>

namespace nabla {

namespace {

template <class Member>
Tensor column(const StepTable& table, const std::vector<std::int32_t>& steps, at::ScalarType dtype, Member member) {
  std::vector<double> values;
  values.reserve(steps.size());
  for (const auto step : steps) values.push_back(member(table.transitions[static_cast<std::size_t>(step)]));
  return torch::tensor(values, at::kDouble).to(dtype).view({-1, 1, 1, 1});
}

Tensor pictures_of(AutoencoderKL& vae, const Tensor& clean) {
  const Tensor decoded = decode_image(vae, clean);
  return decoded.to(c10::promoteTypes(decoded.scalar_type(), at::kFloat));
}

}  // namespace

RowCoefficients row_coefficients(const StepTable& table, const std::vector<std::int32_t>& steps, at::ScalarType dtype,
                                 bool alpha_bar_bf16) {
  const auto col = [&](auto member) { return column(table, steps, dtype, member); };
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
  const Tensor images = pictures_of(vae_, clean);
  decoded_rows += clean.size(0);
  const RewardGradient result = reward_gradient(reward_, images.detach(), prompts);
  return {result.score, pull_back(images, latent, result.grad_image, false)};
}

Tensor PictureReward::score(const Tensor& clean, const std::vector<std::string>& prompts) {
  const at::NoGradGuard no_grad;
  scored_rows += clean.size(0);
  return reward_.score(pictures_of(vae_, clean), prompts).detach();
}

}  // namespace nabla
