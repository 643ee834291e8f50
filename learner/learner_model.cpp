#include "learner/learner_model.h"

#include "common/config/record_needs.h"
#include "common/device/device.h"
#include "common/error.h"
#include "learner/flow_network.h"

#include <torch/types.h>

namespace nabla {

namespace {

void freeze_network(torch::nn::Module& network) {
  for (auto& parameter : network.parameters()) parameter.requires_grad_(false);
  network.eval();
}

void require_trainable(const StepTable& table) {
  if (table.clip_sample) {
    throw usage_error(
        "[learner] the scheduler clips its clean prediction (clip_sample: true), which has no transition density to train with; set "
        "clip_sample to false in scheduler_config.json");
  }
  for (const auto& transition : table.transitions) {
    if (transition.weight) continue;
    throw usage_error(
        "[learner] the transition from t = {} has no noise (sigma = 0), so it has no density to train with; use sampling.eta > 0 and, in "
        "scheduler_config.json, set_alpha_to_one: false",
        transition.timestep);
  }
}

}  // namespace

LearnerModel make_learner_model(const RunConfig& config, const std::string& check_prompt) {
  const Placement placement = placement_of(config.training.mixed_precision, config.learner.device, "learner.device");
  make_current(placement.device);
  const ModelFolder folder = ModelFolder::open(config.pretrained.model);
  LearnerModel model;
  model.device = placement.device;
  model.table =
      make_step_table(folder.scheduler(), sampler_from_name(config.sampling.scheduler), config.sampling.num_steps, config.sampling.eta);
  require_trainable(model.table);
  model.base_digest = folder.digest();
  model.text_encoder = folder.load_text_encoder(placement);
  const auto unet = folder.load_unet(placement);
  freeze_network(*model.text_encoder);
  freeze_network(*unet);
  if (config.learner.activation_checkpointing) unet->set_activations(Activations::kRecomputed);
  const ClipTokenizer tokenizer = folder.load_tokenizer();
  model.empty_prompt = tokenizer.encode("");
  model.check_prompt = tokenizer.encode(check_prompt);
  const LoraConfig lora{.rank = config.model.lora_rank, .alpha = config.model.lora_alpha};
  model.policy = std::make_unique<Policy>(unet, lora, config.sampling.guidance_scale, config.seed);
  model.policy->lora().require_grad(true);
  if (record_needs_of(config).flow) {
    model.flow = make_flow_network(unet->config(), config.model, config.seed, flow_output_from_name(config.compat.flow_out_init));
    model.flow->to(placement.device);
  }
  model.latent_shape = {unet->config().in_channels, unet->config().sample_size, unet->config().sample_size};
  return model;
}

std::int64_t num_parameters(const std::vector<Tensor>& parameters) {
  std::int64_t count = 0;
  for (const auto& parameter : parameters) count += parameter.numel();
  return count;
}

}  // namespace nabla
