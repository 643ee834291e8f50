#include "launch/pretrain/base_model.h"

#include "common/diffusion/clip_text.h"
#include "common/diffusion/initialization.h"
#include "common/diffusion/model_folder.h"
#include "common/diffusion/pocket_tokenizer.h"
#include "common/diffusion/transition_kernel.h"
#include "common/diffusion/unet.h"
#include "common/diffusion/vae.h"
#include "common/error.h"
#include "common/json_file.h"
#include "common/log.h"
#include "common/pocket/caption.h"
#include "common/pocket/renderer.h"
#include "launch/pretrain/prompt_lists.h"
#include "launch/pretrain/trainer.h"
#include "launch/pretrain/training_note.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <cmath>
#include <filesystem>

namespace nabla {

namespace {

constexpr std::int64_t kVaeBatch = 32, kUnetBatch = 64, kEncodeBatch = 64, kTokens = 16;
constexpr double kDroppedCaptions = 0.1, kTrainTimesteps = 1000;
constexpr std::uint64_t kUnetStream = std::uint64_t{1} << 32;  // keeps the UNet's random numbers apart from the VAE's

VaeConfig pocket_vae() {
  VaeConfig config;
  config.block_out_channels = {16, 32};
  config.layers_per_block = 1;
  config.norm_num_groups = 2;  // two channels a group learn absolute colour badly
  config.sample_size = pocket::kImageSize;
  return config;
}

UNetConfig pocket_unet() {
  UNetConfig config;
  config.sample_size = 16;
  config.block_out_channels = {32, 64, 96};
  config.down_block_types = {"DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"};
  config.up_block_types = {"CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"};
  config.layers_per_block = 1;
  config.norm_num_groups = 8;
  config.cross_attention_dim = 64;
  config.num_heads = {2, 2, 2};
  return config;
}

ClipTextConfig pocket_text(std::int64_t vocabulary) {
  ClipTextConfig config;
  config.vocab_size = vocabulary;
  config.hidden_size = 64;
  config.intermediate_size = 256;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.max_position_embeddings = kTokens;
  config.eos_token_id = vocabulary - 1;
  return config;
}

nlohmann::ordered_json pocket_scheduler() {
  return {{"_class_name", "DDIMScheduler"}, {"beta_end", 0.012}, {"beta_schedule", "scaled_linear"}, {"beta_start", 0.00085}, {"clip_sample", false},
          {"num_train_timesteps", 1000}, {"prediction_type", "epsilon"}, {"set_alpha_to_one", false}, {"steps_offset", 1},
          {"timestep_spacing", "leading"}};
}

Tensor alpha_bars() { return torch::tensor(SchedulerConfig::from_json(pocket_scheduler(), "pocket").alpha_bars(), at::kDouble).to(at::kFloat); }

nlohmann::ordered_json pocket_index() {
  return {{"_class_name", "StableDiffusionPipeline"}, {"_diffusers_version", "0.35.0"}, {"feature_extractor", {nullptr, nullptr}},
          {"requires_safety_checker", false}, {"safety_checker", {nullptr, nullptr}}, {"scheduler", {"diffusers", "DDIMScheduler"}},
          {"text_encoder", {"transformers", "CLIPTextModel"}}, {"tokenizer", {"transformers", "CLIPTokenizer"}},
          {"unet", {"diffusers", "UNet2DConditionModel"}}, {"vae", {"diffusers", "AutoencoderKL"}}};
}

Philox batch_stream(const PretrainOptions& options, std::uint64_t step) { return {options.seed, RandomPurpose::kPretrainBatch, step}; }
Philox noise_stream(const PretrainOptions& options, std::uint64_t step) { return {options.seed, RandomPurpose::kPretrainNoise, step}; }

Tensor gradient_l1(const Tensor& a, const Tensor& b) {
  const auto slope = [](const Tensor& x, int dim) { return x.narrow(dim, 1, x.size(dim) - 1) - x.narrow(dim, 0, x.size(dim) - 1); };
  return (slope(a, 2) - slope(b, 2)).abs().mean() + (slope(a, 3) - slope(b, 3)).abs().mean();
}

Tensor vae_loss(AutoencoderKL& vae, const PretrainOptions& options, std::int64_t step) {
  std::vector<std::uint64_t> indices;
  for (std::int64_t i = 0; i < kVaeBatch; ++i) indices.push_back(static_cast<std::uint64_t>(step * kVaeBatch + i));
  const Tensor image = render_pictures(options.seed, indices) * 2.0 - 1.0;
  const auto moments = vae.encode(image);
  const Tensor noise = normal_tensor(moments.mean.sizes().vec(), noise_stream(options, static_cast<std::uint64_t>(step)));
  const Tensor decoded = vae.decode(moments.mean + (0.5 * moments.logvar).exp() * noise);
  const Tensor divergence = 0.5 * (moments.mean.square() + moments.logvar.exp() - 1.0 - moments.logvar).sum({1, 2, 3}).mean();
  const double divergence_weight = 2e-4 / static_cast<double>(moments.mean[0].numel());
  return (decoded - image).abs().mean() + (decoded - image).square().mean() + 0.5 * gradient_l1(decoded, image) + divergence_weight * divergence;
}

double held_out_psnr(AutoencoderKL& vae, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  std::vector<std::uint64_t> indices;
  for (std::uint64_t i = 0; i < 256; ++i) indices.push_back(kHeldOutPictures + i);
  const Tensor image = render_pictures(seed, indices);
  const Tensor decoded = vae.decode(vae.encode(image * 2.0 - 1.0).mean) / 2 + 0.5;
  return -10.0 * std::log10((decoded.clamp(0.0, 1.0) - image).square().mean().item<double>());
}

void save_component(const std::string& folder, const std::string& base_name, const torch::nn::Module& module, const nlohmann::ordered_json& config) {
  std::filesystem::create_directories(folder);
  write_json(folder + "/config.json", config);
  save_tensors(folder + "/" + base_name + ".safetensors", named_tensors(module));
}

// What the UNet is trained on: moments of encoded pictures and the tokens of their captions, made once.
struct LatentPool {
  Tensor mean, deviation;  // [P,4,16,16]
  Tensor tokens;           // [P,16] int64
  Tensor empty_tokens;     // [1,16]
  double scaling_factor = 1.0;
};

Tensor tokens_of(const ClipTokenizer& tokenizer, const std::string& caption) { return torch::tensor(tokenizer.encode(caption), at::kLong); }

LatentPool encode_pool(AutoencoderKL& vae, const ClipTokenizer& tokenizer, const PretrainOptions& options) {
  const at::NoGradGuard no_grad;
  std::vector<Tensor> means, deviations, tokens;
  for (std::int64_t first = 0; first < options.latent_pictures; first += kEncodeBatch) {
    std::vector<Tensor> pictures;
    for (std::int64_t i = first; i < std::min(first + kEncodeBatch, options.latent_pictures); ++i) {
      const auto index = static_cast<std::uint64_t>(i);
      const pocket::Scene scene = pocket::training_scene(options.seed, index);
      tokens.push_back(tokens_of(tokenizer, pocket::caption_of(scene)));
      pictures.push_back(torch::tensor(pocket::render(scene, options.seed, index)).view({3, pocket::kImageSize, pocket::kImageSize}));
    }
    const auto moments = vae.encode(at::stack(pictures) * 2.0 - 1.0);
    means.push_back(moments.mean);
    deviations.push_back((0.5 * moments.logvar).exp());
  }
  LatentPool pool{at::cat(means), at::cat(deviations), at::stack(tokens), tokens_of(tokenizer, "").unsqueeze(0)};
  pool.scaling_factor = 1.0 / (pool.mean.square().mean() + pool.deviation.square().mean() - pool.mean.mean().square()).sqrt().item<double>();
  return pool;
}

LatentPool load_or_encode_pool(AutoencoderKL& vae, const ClipTokenizer& tokenizer, const PretrainOptions& options) {
  const std::string file = options.work + "/latents.safetensors";
  if (!std::filesystem::exists(file)) {
    const LatentPool pool = encode_pool(vae, tokenizer, options);
    save_tensors(file, {{"mean", pool.mean}, {"deviation", pool.deviation}, {"tokens", pool.tokens}, {"empty_tokens", pool.empty_tokens},
                        {"scaling_factor", at::full({1}, pool.scaling_factor, at::kDouble)}});
  }
  TensorMap saved = load_tensors(file);
  return {saved.at("mean"), saved.at("deviation"), saved.at("tokens"), saved.at("empty_tokens"), saved.at("scaling_factor").item<double>()};
}

// UNet and text encoder are trained jointly: one module, one optimiser.
struct Denoiser : torch::nn::Module {
  Denoiser(const UNetConfig& unet_config, const ClipTextConfig& text_config)
      : unet(register_module("unet", std::make_shared<UNet2DConditionModel>(unet_config))),
        text(register_module("text_encoder", std::make_shared<ClipTextModel>(text_config))) {}
  std::shared_ptr<UNet2DConditionModel> unet;
  std::shared_ptr<ClipTextModel> text;
};

Tensor denoising_loss(Denoiser& denoiser, const LatentPool& pool, const Tensor& alpha_bar, const PretrainOptions& options, std::int64_t step) {
  Philox batch = batch_stream(options, kUnetStream + static_cast<std::uint64_t>(step));
  std::vector<std::int64_t> pictures, timesteps, dropped;
  for (std::int64_t i = 0; i < kUnetBatch; ++i) {
    pictures.push_back(batch.below(static_cast<std::uint32_t>(pool.mean.size(0))));
    // One timestep from each 64th of the schedule: the gradient varies less than with independent ones.
    timesteps.push_back(static_cast<std::int64_t>((static_cast<double>(i) + batch.uniform()) / kUnetBatch * kTrainTimesteps));
    dropped.push_back(batch.uniform() < kDroppedCaptions ? 1 : 0);
  }
  const Tensor rows = torch::tensor(pictures, at::kLong), timestep = torch::tensor(timesteps, at::kLong);
  const Tensor is_dropped = torch::tensor(dropped, at::kLong).to(at::kBool).unsqueeze(1);
  const Tensor mean = pool.mean.index_select(0, rows);
  const Tensor noise = normal_tensor([&] { auto shape = mean.sizes().vec(); shape[0] *= 2; return shape; }(),
                                     noise_stream(options, kUnetStream + static_cast<std::uint64_t>(step)));
  const auto halves = noise.chunk(2);
  const Tensor latents = (mean + pool.deviation.index_select(0, rows) * halves[0]) * pool.scaling_factor;
  const Tensor level = alpha_bar.index_select(0, timestep).view({-1, 1, 1, 1});
  const Tensor noisy = level.sqrt() * latents + (1.0 - level).sqrt() * halves[1];
  const Tensor tokens = at::where(is_dropped, pool.empty_tokens, pool.tokens.index_select(0, rows));
  const Tensor prediction = denoiser.unet->forward(noisy, timestep, denoiser.text->forward(tokens).last_hidden_state);
  return (prediction - halves[1]).square().mean();
}

void export_model(const std::string& folder, const Denoiser& denoiser, const AutoencoderKL& vae, double scaling_factor, std::uint64_t seed) {
  VaeConfig vae_config = vae.config();
  vae_config.scaling_factor = scaling_factor;
  save_component(folder + "/vae", "diffusion_pytorch_model", vae, vae_config.to_json());
  save_component(folder + "/unet", "diffusion_pytorch_model", *denoiser.unet, denoiser.unet->config().to_json());
  save_component(folder + "/text_encoder", "model", *denoiser.text, denoiser.text->config().to_json());
  write_pocket_tokenizer(folder + "/tokenizer", pocket::caption_words(), kTokens);
  std::filesystem::create_directories(folder + "/scheduler");
  write_json(folder + "/scheduler/scheduler_config.json", pocket_scheduler());
  write_json(folder + "/model_index.json", pocket_index());
  write_prompt_lists(folder + "/prompts", seed);
}

std::string vae_file(const PretrainOptions& options) { return options.work + "/vae.safetensors"; }

}  // namespace

Tensor render_pictures(std::uint64_t seed, const std::vector<std::uint64_t>& indices) {
  const std::int64_t side = pocket::kImageSize;
  Tensor pictures = at::empty({static_cast<std::int64_t>(indices.size()), 3, side, side}, at::kFloat);
  float* out = pictures.data_ptr<float>();
  for (const auto index : indices) {
    const std::vector<float> picture = pocket::render(pocket::random_scene(seed, index), seed, index);
    out = std::copy(picture.begin(), picture.end(), out);
  }
  return pictures;
}

int train_vae(const PretrainOptions& options) {
  std::filesystem::create_directories(options.work);
  const auto vae = std::make_shared<AutoencoderKL>(pocket_vae());
  initialize_parameters(*vae, options.seed);
  Trainer trainer(vae, {.name = "vae", .checkpoint = options.work + "/vae_training.safetensors", .seed = options.seed, .steps = options.vae_steps,
                        .checkpoint_every = options.checkpoint_every, .learning_rate = 3e-3, .beta2 = 0.999});
  trainer.run([&](std::int64_t step) { return vae_loss(*vae, options, step); },
              [&](std::int64_t) { log_info("vae held-out PSNR {:.2f} dB", held_out_psnr(*vae, options.seed)); });
  save_tensors(vae_file(options), named_tensors(*vae));
  const double psnr = held_out_psnr(*vae, options.seed);
  note_training(options, "vae", trainer, {{"psnr_db", psnr}});
  log_info("vae done: loss {:.5f}, held-out PSNR {:.2f} dB, {:.0f} s", trainer.smoothed_loss(), psnr, trainer.seconds());
  return 0;
}

int train_unet(const PretrainOptions& options) {
  const auto vae = std::make_shared<AutoencoderKL>(pocket_vae());
  load_parameters(*vae, load_tensors(vae_file(options)), vae_file(options));
  write_pocket_tokenizer(options.work + "/tokenizer", pocket::caption_words(), kTokens);
  const ClipTokenizer tokenizer = ClipTokenizer::load(options.work + "/tokenizer");
  const LatentPool pool = load_or_encode_pool(*vae, tokenizer, options);
  const std::int64_t vocabulary = pool.empty_tokens.max().item<std::int64_t>() + 1;
  const auto denoiser = std::make_shared<Denoiser>(pocket_unet(), pocket_text(vocabulary));
  initialize_parameters(*denoiser, options.seed + 1);
  const Tensor alpha_bar = alpha_bars();
  const TrainerOptions training{.name = "unet", .checkpoint = options.work + "/unet_training.safetensors", .seed = options.seed, .steps = options.unet_steps,
                                .checkpoint_every = options.checkpoint_every, .warmup = 200, .learning_rate = 1.5e-3, .weight_decay = 1e-4,
                                .beta2 = 0.99, .ema_decay = 0.999};
  Trainer trainer(denoiser, training);
  // Each checkpoint is also a model that can be looked at.
  const auto look = [&](std::int64_t) {
    const auto averaged = std::make_shared<Denoiser>(pocket_unet(), pocket_text(vocabulary));
    Trainer reader(averaged, training);
    reader.use_average();
    export_model(options.work + "/latest", *averaged, *vae, pool.scaling_factor, options.seed);
  };
  trainer.run([&](std::int64_t step) { return denoising_loss(*denoiser, pool, alpha_bar, options, step); }, look);
  trainer.use_average();
  export_model(options.out, *denoiser, *vae, pool.scaling_factor, options.seed);
  note_training(options, "unet_and_text_encoder", trainer, {});
  log_info("unet done: loss {:.5f}, {:.0f} s; model in {}", trainer.smoothed_loss(), trainer.seconds(), options.out);
  return 0;
}

}  // namespace nabla
