#pragma once

#include "actors/rewards/reward_model.h"

namespace nabla {

// The test reward that needs no model: mean of the red channel minus mean of the blue.
class MeanRedReward : public RewardModel {
 public:
  Tensor score(const Tensor& images, const std::vector<std::string>& prompts) override;
  std::string spec() const override { return "mean-red: mean of red minus mean of blue"; }
};

}  // namespace nabla
