#pragma once

#include "actors/rewards/reward_model.h"
#include "common/config/run_config.h"
#include "common/diffusion/model_folder.h"
#include "common/diffusion/policy.h"
#include "common/diffusion/sampling.h"
#include "common/pocket/checker.h"

#include <memory>
#include <string>
#include <vector>

namespace nabla {

// Rows through the decoder and the reward since the start: forwards and vector-Jacobian products. Those of the U-Net are the policy's.
struct PictureCounters {
  std::int64_t decoder_forwards = 0, decoder_backwards = 0, reward_forwards = 0, reward_backwards = 0;
};

// Everything an actor computes with, loaded once.
struct Workbench {
  std::string base_digest;
  at::Device device = at::kCPU;  // of the networks and of everything that is computed with them
  StepTable table;
  std::shared_ptr<AutoencoderKL> vae;
  std::shared_ptr<ClipTextModel> text_encoder;
  std::unique_ptr<ClipTokenizer> tokenizer;
  std::unique_ptr<Policy> policy;
  std::unique_ptr<RewardModel> reward;
  std::unique_ptr<RewardModel> true_reward;           // null where the task has none
  std::shared_ptr<pocket::Checker> checker;           // null where there is none
  std::vector<std::int64_t> latent_shape;             // [C, h, w]
  std::int64_t decode_rows = 0;                       // pictures decoded at once; 0: all
  NetworkCalls network_calls = NetworkCalls::kPlain;  // of the sampler
  PictureCounters counters;
};

// Loads models and rewards as the configuration names them; errors are data_error or usage_error with the option to change.
Workbench make_workbench(const RunConfig& config);

struct EncodedPrompts {
  std::vector<std::vector<std::int64_t>> token_ids;
  Conditioning conditioning;
};

// Prompt embeddings of a batch and of the empty prompt, float32 on the workbench's device; no gradient.
EncodedPrompts encode_prompts(const Workbench& bench, const std::vector<std::string>& prompts);

}  // namespace nabla
