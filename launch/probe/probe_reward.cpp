#include "actors/rewards/reward_model.h"

#include "common/config/run_config.h"
#include "common/error.h"
#include "launch/probe/probe_setup.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace nabla {

namespace {

// One prompt a picture; empty ones without a file.
std::vector<std::string> read_prompts(const ProbeOptions& options, std::int64_t num_pictures) {
  if (options.prompts.empty()) return std::vector<std::string>(static_cast<std::size_t>(num_pictures));
  std::vector<std::string> prompts = read_lines(options.prompts);
  if (static_cast<std::int64_t>(prompts.size()) == num_pictures) return prompts;
  throw data_error("[probe] {} has {} lines, but tensor 'image' of {} holds {} pictures; expected one prompt a picture", options.prompts,
                   prompts.size(), options.in, num_pictures);
}

}  // namespace

nlohmann::ordered_json probe_reward(const ProbeOptions& options) {
  if (options.device != "cpu") throw usage_error("[probe] --device is '{}'; rewards are probed on the cpu in this version", options.device);
  const std::string model = options.reward_model.empty() ? RunConfig().experiment.reward_model : options.reward_model;
  const auto reward = make_reward({.name = options.reward, .model = model, .dtype = network_dtype(options)});
  TensorInput input = open_input(options, latent_dtype(options));
  const Tensor image = input.floats("image", "N,3,H,W");
  input.finish();
  const RewardGradient result = reward_gradient(*reward, image, read_prompts(options, image.size(0)));
  save_output(options, {{"score", result.score}, {"grad_image", result.grad_image}});
  return {{"spec", reward->spec()}};
}

}  // namespace nabla
