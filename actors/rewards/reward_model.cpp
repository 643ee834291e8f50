#include "actors/rewards/reward_model.h"

#include "actors/rewards/aesthetic.h"
#include "actors/rewards/lantern.h"
#include "actors/rewards/mean_red.h"
#include "common/error.h"
#include "common/nearest.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

namespace nabla {

std::unique_ptr<RewardModel> make_reward(const RewardOptions& options) {
  const std::string& name = options.name;
  if (name == "aesthetic_score" || name == "aesthetic")
    return std::make_unique<AestheticReward>(options.model, Placement(options.dtype, options.device));
  if (name == "lantern") return std::make_unique<LanternReward>();
  if (name == "mean-red") return std::make_unique<MeanRedReward>();
  const std::vector<std::string> known{"aesthetic_score", "aesthetic", "lantern", "mean-red"};
  throw usage_error("[reward] there is no reward '{}'; did you mean '{}'? Known are {}", name, nearest(name, known), comma_list(known));
}

RewardGradient reward_gradient(RewardModel& reward, const Tensor& images, const std::vector<std::string>& prompts) {
  const at::AutoGradMode gradients_on(true);
  const Tensor pictures = images.detach().requires_grad_(true);
  const Tensor score = reward.score(pictures, prompts);
  return {score.detach(), torch::autograd::grad({score.sum()}, {pictures})[0]};
}

void require_pictures(const std::string& reward, const Tensor& images) {
  if (images.dim() == 4 && images.size(1) == 3 && images.is_floating_point()) return;
  throw data_error("[reward] {}: pictures of shape {}; expected are [N,3,H,W] in [0,1]", reward, shape_string(images));
}

}  // namespace nabla
