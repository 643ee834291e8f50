#include "launch/picture_sampler.h"

#include "common/device/device.h"
#include "common/diffusion/model_folder.h"
#include "common/diffusion/policy.h"
#include "common/diffusion/sampling.h"
#include "common/error.h"
#include "common/log.h"
#include "launch/picture_grid.h"
#include "launch/probe/tensor_input.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>

namespace nabla {

namespace fs = std::filesystem;

namespace {

// Latent pixels that are worked on at once, so that memory does not grow with the number of prompts.
constexpr std::int64_t kLatentPixelsAtOnce = 16384, kPicturesAtOnce = 32;

struct SamplingModels {
  StepTable table;
  std::shared_ptr<AutoencoderKL> vae;
  std::shared_ptr<ClipTextModel> text_encoder;
  ClipTokenizer tokenizer;
  Policy policy;
  at::ScalarType dtype;
  at::Device device;
  std::vector<std::int64_t> latent_shape;  // [C,h,w]
};

// Letters: N pictures, S steps, C h w latent, H W picture. float32, or float64 from a float64 network.
struct SampledTrajectories {
  Tensor latents;      // [S+1,N,C,h,w]
  Tensor predictions;  // [S,N,C,h,w], guided
  Tensor images;       // [N,3,H,W] in [0,1]
};

struct GivenNoise {
  Tensor start, steps;  // [N,C,h,w], [S,N,C,h,w]; undefined: the seed's
};

at::ScalarType dtype_option(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "float64") return at::kDouble;
  if (name == "bfloat16") return at::kBFloat16;
  throw usage_error("[sample] --dtype '{}' is unknown; known are float32, float64 and bfloat16", name);
}

at::ScalarType result_dtype(at::ScalarType dtype) { return dtype == at::kDouble ? at::kDouble : at::kFloat; }

std::int64_t latent_size(const char* option, std::int64_t pixels, std::int64_t trained, std::int64_t factor) {
  if (pixels == 0) return trained;
  if (pixels < factor || pixels % factor != 0) {
    throw usage_error("[sample] {} {} is no size of this model: it is a multiple of {}, the factor of its autoencoder (trained at {})",
                      option, pixels, factor, trained * factor);
  }
  return pixels / factor;
}

Policy load_policy(const ModelFolder& folder, const SampleOptions& options, at::ScalarType dtype, at::Device device) {
  const auto unet = folder.load_unet(dtype);
  unet->to(device);
  const TensorMap lora = options.lora.empty() ? TensorMap{} : read_lora_file(options.lora, *unet);
  return {unet, LoraAdapter::attach(*unet, lora, options.lora_scale), options.guidance};
}

SamplingModels load_models(const SampleOptions& options) {
  const at::ScalarType dtype = dtype_option(options.dtype);
  const at::Device device = parse_device(options.device);
  const ModelFolder folder = ModelFolder::open(options.model);
  SamplingModels models{make_step_table(folder.scheduler(), sampler_from_name(options.sampler), options.steps, options.eta),
                        folder.load_vae(dtype),
                        folder.load_text_encoder(dtype),
                        folder.load_tokenizer(),
                        load_policy(folder, options, dtype, device),
                        dtype,
                        device,
                        {}};
  models.vae->to(device);
  models.text_encoder->to(device);
  const UNetConfig& unet = models.policy.unet().config();
  const std::int64_t factor = models.vae->config().scale();
  models.latent_shape = {unet.in_channels, latent_size("--height", options.height, unet.sample_size, factor),
                         latent_size("--width", options.width, unet.sample_size, factor)};
  return models;
}

Tensor embed_prompts(const SamplingModels& models, const std::vector<std::string>& prompts) {
  std::vector<std::int64_t> ids;
  for (const auto& prompt : prompts) {
    const auto tokens = models.tokenizer.encode(prompt);
    ids.insert(ids.end(), tokens.begin(), tokens.end());
  }
  const Tensor rows = torch::tensor(ids, at::kLong).view({static_cast<std::int64_t>(prompts.size()), -1});
  return models.text_encoder->forward(rows.to(models.device)).last_hidden_state;
}

GivenNoise read_noise(const SampleOptions& options, const SamplingModels& models) {
  if (options.noise_file.empty()) return {};
  TensorInput input(options.noise_file, models.device, result_dtype(models.dtype));
  input.fix("S", options.steps);
  input.fix("N", static_cast<std::int64_t>(options.prompts.size()));
  for (const std::size_t axis : {0, 1, 2}) input.fix(std::array{"C", "h", "w"}[axis], models.latent_shape[axis]);
  GivenNoise noise{input.floats("start_noise", "N,C,h,w"), {}};
  const auto& transitions = models.table.transitions;
  const bool is_noisy =
      std::any_of(transitions.begin(), transitions.end(), [](const Transition& transition) { return transition.sigma > 0.0; });
  if (is_noisy || input.has("step_noise")) noise.steps = input.floats("step_noise", "S,N,C,h,w");
  input.finish();
  return noise;
}

// Pictures first .. first + count - 1 of the options.
SampledTrajectories sample_part(SamplingModels& models, const SampleOptions& options, const GivenNoise& given, std::int64_t first,
                                std::int64_t count) {
  const at::ScalarType dtype = result_dtype(models.dtype);
  const auto placed = [&](const Tensor& noise) { return noise.to(models.device, dtype); };
  std::vector<std::int64_t> numbers;
  for (std::int64_t i = first; i < first + count; ++i) numbers.push_back(i);
  TrajectoryNoise drawn =
      TrajectoryNoise::for_pictures(std::vector<std::uint64_t>(numbers.size(), options.seed), numbers, models.latent_shape);
  const Tensor start = placed(given.start.defined() ? given.start.narrow(0, first, count) : drawn.start());
  const auto step_noise = [&](std::size_t step) {
    return placed(given.steps.defined() ? given.steps[static_cast<std::int64_t>(step)].narrow(0, first, count) : drawn.next_step());
  };
  std::vector<Tensor> latents{start}, predictions;
  const auto keep = [&](std::size_t, const Tensor&, const Tensor& prediction, const Tensor& next) {
    if (options.trajectory_file.empty()) return;
    latents.push_back(next);
    predictions.push_back(prediction);
  };
  const auto begin = options.prompts.begin() + first;
  const Conditioning conditioning{embed_prompts(models, {begin, begin + count}), embed_prompts(models, {""})};
  const Tensor last = sample_latents(models.policy, WeightMode::kMerged, models.table, conditioning, start, step_noise, keep);
  SampledTrajectories sampled;
  sampled.images = decode_image(*models.vae, last.to(models.dtype)).to(at::kCPU, dtype);
  if (options.trajectory_file.empty()) return sampled;
  sampled.latents = at::stack(latents).to(at::kCPU);
  sampled.predictions = at::stack(predictions).to(at::kCPU);
  return sampled;
}

SampledTrajectories sample_all(SamplingModels& models, const SampleOptions& options) {
  const at::NoGradGuard no_grad;
  const GivenNoise noise = read_noise(options, models);
  const auto total = static_cast<std::int64_t>(options.prompts.size());
  const std::int64_t latent_pixels = models.latent_shape[1] * models.latent_shape[2];
  const std::int64_t at_once = std::clamp<std::int64_t>(kLatentPixelsAtOnce / latent_pixels, 1, kPicturesAtOnce);
  std::vector<Tensor> latents, predictions, images;
  for (std::int64_t first = 0; first < total; first += at_once) {
    const std::int64_t count = std::min(at_once, total - first);
    const SampledTrajectories part = sample_part(models, options, noise, first, count);
    images.push_back(part.images);
    if (part.latents.defined()) latents.push_back(part.latents);
    if (part.predictions.defined()) predictions.push_back(part.predictions);
    log_info("{}/{} pictures", first + count, total);
  }
  SampledTrajectories all{{}, {}, at::cat(images)};
  if (!at::isfinite(all.images).all().item<bool>())
    throw failure("[sample] the pictures hold NaN; is the noise or the LoRA damaged, or {} too coarse for this model?", options.dtype);
  if (options.trajectory_file.empty()) return all;
  all.latents = at::cat(latents, 1);
  all.predictions = at::cat(predictions, 1);
  return all;
}

void save_trajectories(const SampleOptions& options, const StepTable& table, const SampledTrajectories& sampled) {
  std::vector<std::int64_t> timesteps, next_timesteps;
  for (const auto& transition : table.transitions) {
    timesteps.push_back(transition.timestep);
    next_timesteps.push_back(transition.next_timestep);
  }
  save_tensors(options.trajectory_file, {{"latents", sampled.latents},
                                         {"predictions", sampled.predictions},
                                         {"timesteps", torch::tensor(timesteps, at::kLong)},
                                         {"next_timesteps", torch::tensor(next_timesteps, at::kLong)},
                                         {"images", sampled.images}});
}

// One row [3,H,W] in [0,1] as bytes, rounded to the nearest.
RgbImage to_picture(const Tensor& image) {
  const Tensor bytes = (image.to(at::kFloat) * 255.0F).round().to(at::kByte).permute({1, 2, 0}).contiguous();
  const auto* data = bytes.const_data_ptr<std::uint8_t>();
  return {.width = static_cast<int>(bytes.size(1)), .height = static_cast<int>(bytes.size(0)), .pixels = {data, data + bytes.numel()}};
}

// `parameters` is the line that A1111 and ComfyUI read.
PngText picture_text(const SampleOptions& options, std::size_t picture, const RgbImage& image) {
  const std::string& prompt = options.prompts[picture];
  const std::string model = fs::path(options.model).lexically_normal().filename().string();
  std::string parameters =
      fmt::format("{}\nSteps: {}, Sampler: {}, CFG scale: {}, Seed: {}, Size: {}x{}, Model: {}, Eta: {}", prompt, options.steps,
                  options.sampler, options.guidance, options.seed, image.width, image.height, model, options.eta);
  if (!options.lora.empty())
    parameters += fmt::format(", Lora: {}, Lora scale: {}", fs::path(options.lora).stem().string(), options.lora_scale);
  return {{"prompt", prompt},
          {"seed", std::to_string(options.seed)},
          {"picture", std::to_string(picture)},
          {"steps", std::to_string(options.steps)},
          {"cfg", fmt::format("{}", options.guidance)},
          {"parameters", parameters}};
}

void make_folder(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw failure("[sample] cannot make the folder '{}': {}; choose another one", folder, error.message());
}

std::vector<std::string> write_pictures(const SampleOptions& options, const Tensor& images) {
  std::vector<std::string> paths;
  std::vector<RgbImage> pictures;
  for (std::size_t i = 0; i < options.prompts.size(); ++i) {
    pictures.push_back(to_picture(images[static_cast<std::int64_t>(i)]));
    paths.push_back(fmt::format("{}/{:03}.png", options.out, i));
    write_png(paths.back(), pictures.back(), picture_text(options, i, pictures.back()));
  }
  if (pictures.size() > 1)
    write_png(options.out + "/grid.png", draw_grid(pictures, options.prompts), {{"seed", std::to_string(options.seed)}});
  return paths;
}

}  // namespace

std::vector<std::string> sample_pictures(const SampleOptions& options) {
  if (options.prompts.empty())
    throw usage_error("[sample] there is no prompt; give --prompt TEXT (several times for several pictures) or --prompts FILE");
  for (const auto& [name, value] : {std::pair{"--guidance", options.guidance}, {"--eta", options.eta}, {"--lora-scale", options.lora_scale}}) {
    if (!std::isfinite(value)) throw usage_error("[sample] {} is {}; a finite number is expected", name, value);
  }
  SamplingModels models = load_models(options);
  // Before the work, so that a folder that cannot be made costs nothing.
  make_folder(options.out);
  if (!options.trajectory_file.empty()) make_folder(fs::absolute(options.trajectory_file).parent_path().string());
  const SampledTrajectories sampled = sample_all(models, options);
  if (!options.trajectory_file.empty()) save_trajectories(options, models.table, sampled);
  return write_pictures(options, sampled.images);
}

}  // namespace nabla
