#pragma once

#include "actors/workbench.h"
#include "common/diffusion/pocket_tokenizer.h"
#include "common/json_file.h"
#include "common/pocket/caption.h"
#include "protocol/snapshot.h"
#include "tests/common/temporary_folder.h"
#include "tests/diffusion/model_writer.h"
#include "tests/diffusion/parity_data.h"

#include <cmath>
#include <filesystem>

namespace nabla {

inline Tensor draw(std::vector<std::int64_t> shape, std::uint64_t index) {
  return normal_tensor(std::move(shape), Philox(11, RandomPurpose::kRender, index));
}

// A whole model of a few thousand random weights: 4x8x8 latents, 16x16 pictures, captions of the pocket world.
class TinyModel {
 public:
  explicit TinyModel(std::uint64_t seed = 1) {
    write_pocket_tokenizer(file("tokenizer"), pocket::caption_words(), kTokens);
    write_pipeline(path());
    write_network<UNet2DConditionModel>(file("unet"), "diffusion_pytorch_model", tiny_unet_config(8, 6), seed);
    write_network<AutoencoderKL>(file("vae"), "diffusion_pytorch_model", vae_config(), seed + 1);
    write_network<ClipTextModel>(file("text_encoder"), "model", text_config(), seed + 2);
  }

  std::string file(const std::string& name) const { return folder_.file(name); }
  const std::string& path() const { return folder_.path(); }
  ModelFolder open() const { return ModelFolder::open(path()); }

  RunConfig config() const {
    RunConfig config;
    config.seed = 3;
    config.pretrained.model = path();
    config.sampling.num_steps = 10;
    config.sampling.guidance_scale = 5.0;
    config.model.lora_rank = 2;
    config.model.lora_alpha = 4.0;
    config.experiment.reward_fn = "lantern";
    config.eval.true_reward = "mean-red";
    return config;
  }

 private:
  static constexpr int kTokens = 12;

  static VaeConfig vae_config() {
    VaeConfig config;
    config.norm_num_groups = 2;
    config.sample_size = 16;
    config.block_out_channels = {4, 8};
    return config;
  }
  ClipTextConfig text_config() const {
    ClipTextConfig config;
    config.vocab_size = static_cast<std::int64_t>(read_json(file("tokenizer/vocab.json")).size());
    config.hidden_size = 6;
    config.intermediate_size = 12;
    config.num_hidden_layers = 1;
    config.num_attention_heads = 2;
    config.max_position_embeddings = kTokens;
    config.eos_token_id = config.vocab_size - 1;
    return config;
  }

  TemporaryFolder folder_;
};

// Values in both matrices of every adapter, so that the policy differs from its base.
inline TensorMap some_lora(Policy& policy, double size = 0.3, std::uint64_t index = 100) {
  TensorMap tensors;
  for (const auto& [name, tensor] : policy.lora().tensors())
    tensors[name] = (size * draw(tensor.sizes().vec(), index++)).to(tensor.scalar_type());
  return tensors;
}

inline Snapshot pack_snapshot(std::int64_t version, const std::string& digest, const std::string& base_digest, TensorMap tensors) {
  std::map<std::string, TensorSource> sources;
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.contiguous();
    sources[name] = {dtype_of(tensor), tensor.sizes().vec(),
                     std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes())};
  }
  PackedTensors packed = pack_tensors(sources);
  return {version, digest, base_digest, std::move(packed.table), std::move(packed.data), 0};
}

// What a learner publishes for these LoRA values: the adapter's own path gives the check pair.
inline TensorMap snapshot_tensors(Workbench& bench, const TensorMap& lora) {
  const at::NoGradGuard no_grad;
  TensorMap tensors = lora;
  const EncodedPrompts prompts = encode_prompts(bench, {"a red star", "two blue rings"});
  const Tensor sample = draw({2, 4, 8, 8}, 1), timestep = torch::tensor({701, 201}, at::kLong);
  bench.policy->load(lora);
  const auto predict = [&](WeightMode mode) { return bench.policy->predict(mode, sample, timestep, prompts.conditioning); };
  tensors["check.sample"] = sample;
  tensors["check.timestep"] = timestep;
  tensors["check.prompt_embeds"] = prompts.conditioning.prompt_embeds.contiguous();
  tensors["check.negative_embeds"] = prompts.conditioning.negative_embeds.contiguous();
  tensors["check.difference"] = predict(WeightMode::kAdapter) - predict(WeightMode::kBase);
  return tensors;
}

inline Snapshot good_snapshot(Workbench& bench, std::int64_t version, const TensorMap& lora) {
  return pack_snapshot(version, digest_of(lora), bench.base_digest, snapshot_tensors(bench, lora));
}

}  // namespace nabla
