#include "launch/pretrain/quality_check.h"

#include "common/clock.h"
#include "common/diffusion/initialization.h"
#include "common/diffusion/model_folder.h"
#include "common/diffusion/policy.h"
#include "common/diffusion/sampling.h"
#include "common/json_file.h"
#include "common/log.h"
#include "common/pocket/caption.h"
#include "common/pocket/checker.h"
#include "launch/pretrain/base_model.h"
#include "launch/pretrain/checker_training.h"
#include "launch/pretrain/training_note.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

namespace nabla {

namespace {

constexpr std::int64_t kSampledAtOnce = 32, kQualitySteps = 50, kCheckerPictures = 2048;
constexpr double kQualityGuidance = 5.0, kQualityEta = 1.0;
constexpr std::uint64_t kQualityScenes = kHeldOutPictures + (std::uint64_t{1} << 32);

struct QualityModels {
  StepTable table;
  std::shared_ptr<AutoencoderKL> vae;
  std::shared_ptr<ClipTextModel> text_encoder;
  ClipTokenizer tokenizer;
  std::shared_ptr<pocket::Checker> checker;
  std::string key;  // of everything that decides the verdicts
};

QualityModels load_quality_models(const ModelFolder& folder, const PretrainOptions& options) {
  const std::string checker_file = options.out + "/checker.safetensors";
  return {make_step_table(folder.scheduler(), Sampler::kDdim, kQualitySteps, kQualityEta),
          folder.load_vae(at::kFloat),
          folder.load_text_encoder(at::kFloat),
          folder.load_tokenizer(),
          pocket::Checker::load(checker_file),
          fmt::format("{} {} seed {} captions {}", folder.digest(), digest_of(load_tensors(checker_file)), options.seed, options.captions)};
}

Tensor embed_texts(const QualityModels& models, const std::vector<std::string>& texts) {
  std::vector<std::int64_t> ids;
  for (const auto& text : texts) {
    const auto tokens = models.tokenizer.encode(text);
    ids.insert(ids.end(), tokens.begin(), tokens.end());
  }
  return models.text_encoder->forward(torch::tensor(ids, at::kLong).view({static_cast<std::int64_t>(texts.size()), -1})).last_hidden_state;
}

// How many pictures show what their caption says.
struct Tally {
  std::int64_t judged = 0, color = 0, shape = 0, count = 0, all = 0;
};

Tally judge_scenes(const QualityModels& models, const Tensor& images, const std::vector<pocket::Scene>& scenes) {
  const auto verdict = models.checker->judge(images);
  Tally tally;
  for (std::size_t i = 0; i < scenes.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    const bool color = verdict.color[row].item<std::int64_t>() == scenes[i].color;
    const bool shape = verdict.shape[row].item<std::int64_t>() == scenes[i].shape;
    const bool count = verdict.count[row].item<std::int64_t>() + 1 == scenes[i].count;
    tally.judged += 1;
    tally.color += color;
    tally.shape += shape;
    tally.count += count;
    tally.all += color && shape && count;
  }
  return tally;
}

// Samples and judges held-out pictures first .. first + number - 1.
Tally sample_and_judge(const QualityModels& models, Policy& policy, std::uint64_t seed, std::int64_t first, std::int64_t number) {
  const at::NoGradGuard no_grad;
  std::vector<pocket::Scene> scenes;
  std::vector<std::string> captions;
  std::vector<std::int64_t> pictures;
  for (std::int64_t i = first; i < first + number; ++i) {
    scenes.push_back(pocket::held_out_scene(seed, kQualityScenes + static_cast<std::uint64_t>(i)));
    captions.push_back(pocket::caption_of(scenes.back()));
    pictures.push_back(i);
  }
  const UNetConfig& shape = policy.unet().config();
  auto noise = TrajectoryNoise::for_pictures(std::vector<std::uint64_t>(pictures.size(), seed), pictures,
                                             {shape.in_channels, shape.sample_size, shape.sample_size});
  const Conditioning conditioning{embed_texts(models, captions), embed_texts(models, {""})};
  const Tensor latents = sample_latents(policy, WeightMode::kBase, models.table, conditioning, noise.start(),
                                        [&](std::size_t) { return noise.next_step(); }, {});
  return judge_scenes(models, decode_image(*models.vae, latents), scenes);
}

Tally resumed_tally(const std::string& file, const std::string& key) {
  if (!std::filesystem::exists(file)) return {};
  const auto json = read_json(file);
  if (json.value("key", "") != key) return {};
  return {json.at("judged"), json.at("color"), json.at("shape"), json.at("count"), json.at("all")};
}

void add(Tally& sum, const Tally& more) {
  sum.judged += more.judged;
  sum.color += more.color;
  sum.shape += more.shape;
  sum.count += more.count;
  sum.all += more.all;
}

// The shares of one network, `name`: trained or untrained.
nlohmann::ordered_json check_network(const QualityModels& models, const std::string& name,
                                     const std::shared_ptr<UNet2DConditionModel>& unet, const PretrainOptions& options) {
  Policy policy(unet, LoraConfig{}, kQualityGuidance, options.seed);
  const std::string progress = fmt::format("{}/quality_{}.json", options.work, name);
  Tally tally = resumed_tally(progress, models.key);
  while (tally.judged < options.captions) {
    add(tally, sample_and_judge(models, policy, options.seed, tally.judged, std::min(kSampledAtOnce, options.captions - tally.judged)));
    write_json(progress, {{"key", models.key},
                          {"judged", tally.judged},
                          {"color", tally.color},
                          {"shape", tally.shape},
                          {"count", tally.count},
                          {"all", tally.all}});
    log_info("{}: {}/{} captions judged", name, tally.judged, options.captions);
  }
  const auto share = [&](std::int64_t right) { return static_cast<double>(right) / static_cast<double>(tally.judged); };
  log_info("{}: right colour {:.3f}, shape {:.3f}, count {:.3f}, all three {:.3f}", name, share(tally.color), share(tally.shape),
           share(tally.count), share(tally.all));
  return {{"color", share(tally.color)}, {"shape", share(tally.shape)}, {"count", share(tally.count)}, {"all", share(tally.all)}};
}

}  // namespace

int check_quality(const PretrainOptions& options) {
  const double start = monotonic_seconds();
  std::filesystem::create_directories(options.work);
  const ModelFolder folder = ModelFolder::open(options.out);
  const QualityModels models = load_quality_models(folder, options);
  const CheckerAccuracy accuracy = held_out_accuracy(*models.checker, options.seed, kCheckerPictures);
  log_info("checker on {} held-out rendered pictures: shape {:.4f}, colour {:.4f}, count {:.4f}", kCheckerPictures, accuracy.shape,
           accuracy.color, accuracy.count);
  const auto unet = folder.load_unet(at::kFloat);
  const auto untrained = std::make_shared<UNet2DConditionModel>(unet->config());
  initialize_parameters(*untrained, options.seed);
  nlohmann::ordered_json report{{"date", today()},               {"command", fmt::format("nabla pretrain --check --out {} --captions {} --seed {}", options.out, options.captions, options.seed)},
                                {"captions", options.captions}, {"steps", kQualitySteps}, {"guidance", kQualityGuidance},
                                {"eta", kQualityEta},           {"seed", options.seed},   {"checker_held_out_pictures", kCheckerPictures}};
  report["checker"] = {{"color", accuracy.color}, {"shape", accuracy.shape}, {"count", accuracy.count}};
  report["model"] = check_network(models, "trained", unet, options);
  report["untrained"] = check_network(models, "untrained", untrained, options);
  report["seconds"] = monotonic_seconds() - start;
  write_json(options.work + "/quality.json", report);
  fmt::print("{}\n", report.dump());
  return 0;
}

}  // namespace nabla
