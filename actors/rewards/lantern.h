#pragma once

#include "actors/rewards/reward_model.h"

namespace nabla {

// The analytic preference of the pocket world (common/pocket/lantern.h): the true reward behind its learned one.
class LanternReward : public RewardModel {
 public:
  Tensor score(const Tensor& images, const std::vector<std::string>& prompts) override;
  std::string spec() const override { return "lantern: warmth 0.25 +- 0.30, centre contrast 0.20 +- 0.10, sigma 7 pixels"; }
};

}  // namespace nabla
