#include "actors/workbench.h"

#include "common/device/device.h"
#include "common/device/transfer.h"
#include "common/error.h"
#include "common/log.h"

#include <torch/types.h>

#include <filesystem>

namespace nabla {

namespace {

std::shared_ptr<pocket::Checker> load_checker(const std::string& file) {
  if (file.empty()) return nullptr;
  if (!std::filesystem::is_regular_file(file)) {
    throw data_error("[actor] there is no picture checker '{}'; eval.checker takes its safetensors file, or nothing for no checker", file);
  }
  return pocket::Checker::load(file);
}

}  // namespace

Workbench make_workbench(const RunConfig& config) {
  const Placement placement = placement_of(config.training.mixed_precision, config.actors.device, "actors.device");
  make_current(placement.device);
  const ModelFolder folder = ModelFolder::open(config.pretrained.model);
  Workbench bench;
  bench.base_digest = folder.digest();
  bench.table =
      make_step_table(folder.scheduler(), sampler_from_name(config.sampling.scheduler), config.sampling.num_steps, config.sampling.eta);
  bench.device = placement.device;
  bench.vae = folder.load_vae(placement);
  bench.text_encoder = folder.load_text_encoder(placement);
  bench.tokenizer = std::make_unique<ClipTokenizer>(folder.load_tokenizer());
  const auto unet = folder.load_unet(placement);
  if (config.actors.activation_checkpointing) unet->set_activations(Activations::kRecomputed);
  bench.decode_rows = config.actors.decode_rows;
  if (config.actors.cuda_graphs) {
    if (!placement.device.is_cuda())
      log_info("actors.cuda_graphs is true but actors.device is {}: the sampler runs step by step", config.actors.device);
    bench.network_calls = NetworkCalls::kGraphed;
  }
  const LoraConfig lora{.rank = config.model.lora_rank, .alpha = config.model.lora_alpha};
  bench.policy = std::make_unique<Policy>(unet, lora, config.sampling.guidance_scale, config.seed);
  bench.reward = make_reward({.name = config.experiment.reward_fn, .model = config.experiment.reward_model, .device = placement.device});
  if (!config.eval.true_reward.empty())
    bench.true_reward = make_reward({.name = config.eval.true_reward, .model = {}, .device = placement.device});
  bench.checker = load_checker(config.eval.checker);
  const UNetConfig& shape = unet->config();
  bench.latent_shape = {shape.in_channels, shape.sample_size, shape.sample_size};
  return bench;
}

EncodedPrompts encode_prompts(const Workbench& bench, const std::vector<std::string>& prompts) {
  const at::NoGradGuard no_grad;
  EncodedPrompts encoded;
  std::vector<std::int64_t> flat;
  for (const auto& prompt : prompts) {
    encoded.token_ids.push_back(bench.tokenizer->encode(prompt));
    flat.insert(flat.end(), encoded.token_ids.back().begin(), encoded.token_ids.back().end());
  }
  const auto rows = static_cast<std::int64_t>(prompts.size());
  const Tensor ids = torch::tensor(flat, at::kLong).view({rows, -1});
  const Tensor empty = torch::tensor(bench.tokenizer->encode(""), at::kLong).view({1, -1});
  const auto embeds_of = [&](const Tensor& tokens) {
    return at_least_float(bench.text_encoder->forward(to_device(tokens, bench.device)).last_hidden_state);
  };
  encoded.conditioning = {embeds_of(ids), embeds_of(empty)};
  return encoded;
}

}  // namespace nabla
