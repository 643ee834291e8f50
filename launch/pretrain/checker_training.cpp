#include "launch/pretrain/checker_training.h"

#include "common/diffusion/initialization.h"
#include "common/log.h"
#include "common/pocket/caption.h"
#include "launch/pretrain/base_model.h"
#include "launch/pretrain/distortion.h"
#include "launch/pretrain/trainer.h"
#include "launch/pretrain/training_note.h"

#include <torch/types.h>

#include <filesystem>

namespace nabla {

namespace {

constexpr std::int64_t kCheckerBatch = 64, kJudgedAtOnce = 256, kHeldOutJudged = 2048;
constexpr std::uint64_t kCheckerStream = std::uint64_t{3} << 32, kCheckerPictures = std::uint64_t{1} << 36;

// What generated pictures suffer from: soft edges, colours that are a little off, noise.
Distortion draw_flaw(Philox& random) {
  Distortion row;
  if (random.uniform() < 0.25) return row;
  row.gain = three_between(random, 0.88, 1.12);
  row.offset = three_between(random, -0.06, 0.06);
  if (random.uniform() < 0.6) row.blur = between(random, 0.0, 0.8);
  if (random.uniform() < 0.6) row.noise = between(random, 0.0, 0.07);
  return row;
}

struct LabelledPictures {
  Tensor images;               // [N,3,32,32]
  Tensor shape, color, count;  // [N] int64
};

LabelledPictures labelled_pictures(std::uint64_t seed, std::uint64_t first, std::int64_t number) {
  std::vector<std::uint64_t> indices;
  std::vector<std::int64_t> shape, color, count;
  for (std::int64_t i = 0; i < number; ++i) {
    indices.push_back(first + static_cast<std::uint64_t>(i));
    const pocket::Scene scene = pocket::random_scene(seed, indices.back());
    shape.push_back(scene.shape);
    color.push_back(scene.color);
    count.push_back(scene.count - 1);
  }
  return {render_pictures(seed, indices), torch::tensor(shape, at::kLong), torch::tensor(color, at::kLong),
          torch::tensor(count, at::kLong)};
}

Tensor with_flaws(const Tensor& images, std::uint64_t seed, std::uint64_t stream) {
  Philox random(seed, RandomPurpose::kPretrainBatch, stream);
  std::vector<Distortion> rows;
  for (std::int64_t i = 0; i < images.size(0); ++i) rows.push_back(draw_flaw(random));
  return distort(images, rows, {seed, RandomPurpose::kPretrainNoise, stream});
}

Tensor checker_loss(pocket::Checker& checker, const PretrainOptions& options, std::int64_t step) {
  const auto number = static_cast<std::uint64_t>(step);
  const LabelledPictures batch = labelled_pictures(options.seed, kCheckerPictures + number * kCheckerBatch, kCheckerBatch);
  const auto logits = checker.forward(with_flaws(batch.images, options.seed, kCheckerStream + number));
  return at::cross_entropy_loss(logits.shape, batch.shape) + at::cross_entropy_loss(logits.color, batch.color) +
         at::cross_entropy_loss(logits.count, batch.count);
}

// `prepare(images, first)` may spoil the pictures before they are judged.
template <class Prepare>
CheckerAccuracy accuracy_on(pocket::Checker& checker, std::uint64_t seed, std::int64_t pictures, Prepare prepare) {
  CheckerAccuracy right;
  for (std::int64_t first = 0; first < pictures; first += kJudgedAtOnce) {
    const std::uint64_t index = kHeldOutPictures + static_cast<std::uint64_t>(first);
    const LabelledPictures batch = labelled_pictures(seed, index, std::min(kJudgedAtOnce, pictures - first));
    const pocket::Checker::Verdict verdict = checker.judge(prepare(batch.images, index));
    right.shape += (verdict.shape == batch.shape).sum().item<double>();
    right.color += (verdict.color == batch.color).sum().item<double>();
    right.count += (verdict.count == batch.count).sum().item<double>();
  }
  const auto all = static_cast<double>(pictures);
  return {right.shape / all, right.color / all, right.count / all};
}

}  // namespace

CheckerAccuracy held_out_accuracy(pocket::Checker& checker, std::uint64_t seed, std::int64_t pictures) {
  return accuracy_on(checker, seed, pictures, [](const Tensor& images, std::uint64_t) { return images; });
}

int train_checker(const PretrainOptions& options) {
  std::filesystem::create_directories(options.work);
  std::filesystem::create_directories(options.out);
  const auto checker = std::make_shared<pocket::Checker>();
  initialize_parameters(*checker, options.seed + 3);
  Trainer trainer(checker, {.name = "checker",
                            .checkpoint = options.work + "/checker_training.safetensors", .seed = options.seed,
                            .steps = options.checker_steps,
                            .checkpoint_every = options.checkpoint_every,
                            .learning_rate = 3e-3,
                            .max_grad_norm = 5.0});
  checker->train();
  trainer.run([&](std::int64_t step) { return checker_loss(*checker, options, step); }, {});
  checker->eval();
  const CheckerAccuracy clean = held_out_accuracy(*checker, options.seed, kHeldOutJudged);
  const CheckerAccuracy flawed = accuracy_on(*checker, options.seed, kHeldOutJudged, [&](const Tensor& images, std::uint64_t first) {
    return with_flaws(images, options.seed, kCheckerStream + first);
  });
  log_info("checker on {} held-out pictures: shape {:.4f}, colour {:.4f}, count {:.4f}", kHeldOutJudged, clean.shape, clean.color,
           clean.count);
  log_info("checker on the same with flaws: shape {:.4f}, colour {:.4f}, count {:.4f}", flawed.shape, flawed.color, flawed.count);
  const std::string file = options.out + "/checker.safetensors";
  checker->save(file, {{"seed", std::to_string(options.seed)}});
  note_training(options, "checker", trainer,
                {{"pictures", kHeldOutJudged}, {"shape", clean.shape}, {"color", clean.color}, {"count", clean.count}});
  log_info("checker done: loss {:.5f}, {:.0f} s; weights in {}", trainer.smoothed_loss(), trainer.seconds(), file);
  return 0;
}

}  // namespace nabla
