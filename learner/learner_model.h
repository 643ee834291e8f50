#pragma once

#include "common/config/run_config.h"
#include "common/diffusion/model_folder.h"
#include "common/diffusion/policy.h"
#include "common/diffusion/transition_kernel.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace nabla {

// Everything a learner computes with: no VAE, no reward.
struct LearnerModel {
  std::string base_digest;
  at::Device device = at::kCPU;  // of the networks and of everything that is computed with them
  StepTable table;
  std::shared_ptr<ClipTextModel> text_encoder;
  std::vector<std::int64_t> empty_prompt;      // token ids of ""
  std::vector<std::int64_t> check_prompt;      // token ids of the check pair's prompt
  std::unique_ptr<Policy> policy;              // its LoRA wants gradients, its base does not
  std::shared_ptr<UNet2DConditionModel> flow;  // null where the objective has none
  std::vector<std::int64_t> latent_shape;      // [C,h,w]
};

// Loads the model that the configuration names; errors are data_error or usage_error with the option to change.
LearnerModel make_learner_model(const RunConfig& config, const std::string& check_prompt);

std::int64_t num_parameters(const std::vector<Tensor>& parameters);

}  // namespace nabla
