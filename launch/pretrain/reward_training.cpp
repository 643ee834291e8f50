#include "launch/pretrain/reward_training.h"

#include "actors/rewards/aesthetic.h"
#include "common/diffusion/initialization.h"
#include "common/diffusion/model_folder.h"
#include "common/json_file.h"
#include "common/log.h"
#include "common/pocket/caption.h"
#include "common/pocket/lantern.h"
#include "launch/pretrain/base_model.h"
#include "launch/pretrain/distortion.h"
#include "launch/pretrain/trainer.h"
#include "launch/pretrain/training_note.h"

#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cmath>
#include <filesystem>

namespace nabla {

namespace {

constexpr std::int64_t kRewardBatch = 64, kJudged = 512;
constexpr std::uint64_t kRewardStream = std::uint64_t{2} << 32, kRewardPictures = std::uint64_t{1} << 35;
constexpr double kTypicalScore = 4.0;

enum class PictureKind { kClean, kNoisy, kTinted, kBlurred, kLit };

AestheticConfig pocket_reward() {
  AestheticConfig config;
  config.vision.image_size = pocket::kImageSize;
  config.vision.patch_size = 8;
  config.vision.hidden_size = 64;
  config.vision.intermediate_size = 256;
  config.vision.num_hidden_layers = 3;
  config.vision.num_attention_heads = 4;
  config.vision.projection_dim = 64;
  config.head_sizes = {64, 32, 16, 8, 1};
  return config;
}

PictureKind draw_kind(Philox& random) {
  const double u = random.uniform();
  if (u < 0.40) return PictureKind::kClean;
  if (u < 0.55) return PictureKind::kNoisy;
  if (u < 0.70) return PictureKind::kTinted;
  return u < 0.85 ? PictureKind::kBlurred : PictureKind::kLit;
}

Distortion draw_distortion(PictureKind kind, Philox& random) {
  Distortion row;
  switch (kind) {
    case PictureKind::kClean:
      break;
    case PictureKind::kNoisy:
      row.noise = between(random, 0.02, 0.15);
      break;
    case PictureKind::kTinted:
      row.gain = three_between(random, 0.5, 1.5);
      row.offset = three_between(random, -0.25, 0.25);
      break;
    case PictureKind::kBlurred:
      row.blur = between(random, 0.3, 2.0);
      break;
    case PictureKind::kLit:
      row.glow = three_between(random, -0.5, 0.5);
      row.glow_x = between(random, 10.0, 22.0);
      row.glow_y = between(random, 10.0, 22.0);
      row.glow_sigma = between(random, 4.0, 10.0);
      row.offset = three_between(random, -0.15, 0.15);
      row.blur = between(random, 0.0, 1.0);
      break;
  }
  return row;
}

Tensor training_pictures(const PretrainOptions& options, std::int64_t step) {
  const auto number = static_cast<std::uint64_t>(step);
  Philox random(options.seed, RandomPurpose::kPretrainBatch, kRewardStream + number);
  std::vector<std::uint64_t> indices;
  std::vector<Distortion> rows;
  for (std::uint64_t i = 0; i < kRewardBatch; ++i) {
    indices.push_back(kRewardPictures + number * kRewardBatch + i);
    rows.push_back(draw_distortion(draw_kind(random), random));
  }
  return distort(render_pictures(options.seed, indices), rows, {options.seed, RandomPurpose::kPretrainNoise, kRewardStream + number});
}

Tensor held_out_pictures(const PretrainOptions& options, PictureKind kind) {
  const std::uint64_t stream = kHeldOutPictures + static_cast<std::uint64_t>(kind);
  Philox random(options.seed, RandomPurpose::kPretrainBatch, stream);
  std::vector<std::uint64_t> indices;
  std::vector<Distortion> rows;
  for (std::uint64_t i = 0; i < kJudged; ++i) {
    indices.push_back(kHeldOutPictures + i);
    rows.push_back(draw_distortion(kind, random));
  }
  return distort(render_pictures(options.seed, indices), rows, {options.seed, RandomPurpose::kPretrainNoise, stream});
}

double correlation(const Tensor& a, const Tensor& b) {
  const Tensor x = a - a.mean(), y = b - b.mean();
  return ((x * y).sum() / (x.norm() * y.norm())).item<double>();
}

struct ScoredPictures {
  Tensor score, gradient;  // [N], [N,3*H*W]
};

template <class Score>
ScoredPictures score_pictures(const Tensor& images, Score score) {
  const Tensor pictures = images.detach().requires_grad_(true);
  const Tensor scores = score(pictures);
  return {scores.detach().to(at::kDouble), torch::autograd::grad({scores.sum()}, {pictures})[0].flatten(1).to(at::kDouble)};
}

// Agreement of the learned reward with the truth on held-out pictures of one kind.
nlohmann::ordered_json judge_kind(AestheticNetwork& network, const PretrainOptions& options, const std::string& name, PictureKind kind) {
  const Tensor images = held_out_pictures(options, kind);
  const ScoredPictures learned = score_pictures(images, [&](const Tensor& x) { return network.forward(x); });
  const ScoredPictures truth = score_pictures(images, [](const Tensor& x) { return pocket::lantern_preference(x); });
  const double pearson = correlation(learned.score, truth.score);
  const double rmse = (learned.score - truth.score).square().mean().sqrt().item<double>();
  const double cosine = at::cosine_similarity(learned.gradient, truth.gradient, 1).mean().item<double>();
  log_info("reward on {} held-out {} pictures: true mean {:.2f} sd {:.2f}, Pearson {:.4f}, RMSE {:.3f}, gradient cosine {:.3f}", kJudged,
           name, truth.score.mean().item<double>(), truth.score.std().item<double>(), pearson, rmse, cosine);
  return {{"true_mean", truth.score.mean().item<double>()},
          {"true_sd", truth.score.std().item<double>()},
          {"pearson", pearson},
          {"rmse", rmse},
          {"gradient_cosine", cosine}};
}

nlohmann::ordered_json judge_reward(AestheticNetwork& network, const PretrainOptions& options) {
  const std::pair<const char*, PictureKind> kinds[] = {{"clean", PictureKind::kClean},
                                                       {"noisy", PictureKind::kNoisy},
                                                       {"tinted", PictureKind::kTinted},
                                                       {"blurred", PictureKind::kBlurred},
                                                       {"lit", PictureKind::kLit}};
  nlohmann::ordered_json report;
  for (const auto& [name, kind] : kinds) report[name] = judge_kind(network, options, name, kind);
  return report;
}

void write_reward(const std::string& folder, const AestheticNetwork& network) {
  std::filesystem::create_directories(folder);
  write_json(folder + "/config.json", network.config().to_json());
  save_tensors(folder + "/model.safetensors", named_tensors(network));
}

}  // namespace

int train_reward(const PretrainOptions& options) {
  std::filesystem::create_directories(options.work);
  const auto network = std::make_shared<AestheticNetwork>(pocket_reward());
  initialize_parameters(*network, options.seed + 2);
  named_tensors(*network).at("layers.7.bias").data().fill_(kTypicalScore);
  Trainer trainer(network, {.name = "reward",
                            .checkpoint = options.work + "/reward_training.safetensors", .seed = options.seed,
                            .steps = options.reward_steps,
                            .checkpoint_every = options.checkpoint_every,
                            .learning_rate = 2e-3});
  const auto loss = [&](std::int64_t step) {
    const Tensor images = training_pictures(options, step);
    return at::smooth_l1_loss(network->forward(images), pocket::lantern_preference(images));
  };
  trainer.run(loss, {});
  write_reward(options.out + "/reward", *network);
  note_training(options, "reward", trainer, judge_reward(*network, options));
  log_info("reward done: loss {:.5f}, {:.0f} s; model in {}/reward", trainer.smoothed_loss(), trainer.seconds(), options.out);
  return 0;
}

}  // namespace nabla
