#pragma once

#include "actors/rewards/reward_model.h"
#include "common/diffusion/transition_kernel.h"
#include "common/diffusion/vae.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nabla {

// Coefficients of each row's own transition, [R,1,1,1] in the dtype and on the device of the latents; made in double.
struct RowCoefficients {
  Tensor x_coefficient, noise_coefficient, variance;  // mean = x_coefficient x - noise_coefficient eps
  Tensor clean_scale_x, clean_noise_x;                // x-hat(x) = clean_scale (x - clean_noise eps)
  Tensor clean_scale_y, clean_noise_y;
};

// `alpha_bar_bf16`: those of x-hat from an alpha-bar that is rounded to bfloat16 first, as the official release does.
RowCoefficients row_coefficients(const StepTable& table, const std::vector<std::int32_t>& steps, const at::TensorOptions& latents,
                                 bool alpha_bar_bf16);

// Vector-Jacobian product of `output` in `input`.
Tensor pull_back(const Tensor& output, const Tensor& input, const Tensor& cotangent, bool retain_graph);

// J_mean(x)^T cotangent for mean = c x - k eps(x); `eps` has its graph to `x`.
Tensor pull_back_mean(const RowCoefficients& rows, const Tensor& x, const Tensor& eps, const Tensor& cotangent, bool retain_graph);

// Decoder and reward of pictures, with the count of rows that went through.
class PictureReward {
 public:
  // `rows_at_once`: rows that are decoded, scored and taken back together, which bounds the memory; 0: all.
  PictureReward(AutoencoderKL& vae, RewardModel& reward, std::int64_t rows_at_once)
      : vae_(vae), reward_(reward), rows_at_once_(rows_at_once) {}
  // Score of the clean latents' pictures [n] and its gradient in `latent`, of which `clean` is a function and which needs a gradient.
  std::pair<Tensor, Tensor> gradient(const Tensor& clean, const Tensor& latent, const std::vector<std::string>& prompts);
  // The score alone.
  Tensor score(const Tensor& clean, const std::vector<std::string>& prompts);

  std::int64_t decoded_rows = 0, scored_rows = 0;

 private:
  std::pair<Tensor, Tensor> gradient_in_slices(const Tensor& clean, const Tensor& latent, const std::vector<std::string>& prompts);

  AutoencoderKL& vae_;
  RewardModel& reward_;
  std::int64_t rows_at_once_;
};

}  // namespace nabla
