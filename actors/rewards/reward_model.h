#pragma once

#include "common/diffusion/tensors.h"

#include <memory>
#include <string>
#include <vector>

namespace nabla {

// A differentiable reward. The score is taken as log R (before the reward scale).
class RewardModel {
 public:
  virtual ~RewardModel() = default;
  // images [N,3,H,W] in [0,1], float32, prompts of the same number -> score [N] float32 with a graph to the images.
  // Pictures in float64 give scores in float64.
  virtual Tensor score(const Tensor& images, const std::vector<std::string>& prompts) = 0;
  // Names everything that decides the number (architecture, weights digest, resize and normalisation); travels with records.
  virtual std::string spec() const = 0;
};

struct RewardOptions {
  std::string name = "aesthetic";     // aesthetic_score (alias aesthetic) | lantern | mean-red
  std::string model;                  // folder with config.json and model.safetensors, for aesthetic
  at::ScalarType dtype = at::kFloat;  // of a network's weights and arithmetic
  at::Device device = at::kCPU;       // of a network; pictures come from there
};

// usage_error on an unknown name (lists the known), data_error on missing or broken model files.
std::unique_ptr<RewardModel> make_reward(const RewardOptions& options);

struct RewardGradient {
  Tensor score;       // [N]
  Tensor grad_image;  // [N,3,H,W] = d sum(score) / d image
};
// Works with gradients switched off around it too; nothing but the pictures gets a gradient.
RewardGradient reward_gradient(RewardModel& reward, const Tensor& images, const std::vector<std::string>& prompts);

// data_error unless images are [N,3,H,W] of a floating type; `reward` names the speaker.
void require_pictures(const std::string& reward, const Tensor& images);

}  // namespace nabla
