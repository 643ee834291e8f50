#include "common/diffusion/model_folder.h"
#include "common/json_file.h"
#include "launch/picture_sampler.h"
#include "launch/pretrain/base_model.h"
#include "launch/pretrain/checker_training.h"
#include "launch/pretrain/quality_check.h"
#include "launch/pretrain/reward_training.h"
#include "launch/pretrain/trainer.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/testing.h"

#include <nlohmann/json.hpp>
#include <torch/types.h>

#include <filesystem>

using namespace nabla;

namespace {

struct Killed {};

struct Line : torch::nn::Module {
  Line() : weight(register_parameter("weight", at::tensor({1.0F, -2.0F, 0.5F}))) {}
  Tensor weight;
};

TrainerOptions line_options(const std::string& checkpoint) {
  return {.name = "line", .checkpoint = checkpoint, .seed = 1, .steps = 8, .checkpoint_every = 3, .warmup = 2, .ema_decay = 0.9};
}

Tensor line_loss(const Line& line, std::int64_t step) {
  const Tensor target = at::tensor({0.1F, 0.2F, 0.3F}) * static_cast<double>(step + 1);
  return (line.weight - target).square().sum();
}

// The weights and their average after all steps, killed before step `dies_at` once (-1: never).
std::pair<Tensor, Tensor> trained_line(const std::string& checkpoint, std::int64_t dies_at) {
  bool is_alive = dies_at < 0;
  for (;;) {
    const auto line = std::make_shared<Line>();
    Trainer trainer(line, line_options(checkpoint));
    try {
      trainer.run(
          [&](std::int64_t step) {
            if (!is_alive && step == dies_at) throw Killed{};
            return line_loss(*line, step);
          },
          {});
    } catch (const Killed&) {
      is_alive = true;
      continue;
    }
    const Tensor weight = line->weight.detach().clone();
    trainer.use_average();
    return {weight, line->weight.detach().clone()};
  }
}

PretrainOptions short_options(const TemporaryFolder& folder) {
  PretrainOptions options;
  options.out = folder.file("model");
  options.work = folder.file("work");
  options.vae_steps = options.unet_steps = options.reward_steps = options.checker_steps = 2;
  options.latent_pictures = 64;
  options.captions = 2;
  return options;
}

}  // namespace

TEST_CASE("a training that is killed goes on from its checkpoint to the same bits") {
  const TemporaryFolder folder;
  const auto [straight, straight_average] = trained_line(folder.file("straight"), -1);
  for (const std::int64_t step : {1, 3, 5, 7}) {
    const auto [weight, average] = trained_line(folder.file(std::to_string(step)), step);
    CHECK_MESSAGE(at::equal(weight, straight), step);
    CHECK_MESSAGE(at::equal(average, straight_average), step);
  }
  CHECK_FALSE(at::equal(straight, straight_average));
}

TEST_CASE("a checkpoint of another seed or another number of steps is refused") {
  const TemporaryFolder folder;
  trained_line(folder.file("line"), -1);
  TrainerOptions options = line_options(folder.file("line"));
  options.seed = 2;
  check_error(ExitCode::kUsage, [&] { Trainer(std::make_shared<Line>(), options); }, "seed 1, not 2");
  options = line_options(folder.file("line"));
  options.steps = 9;
  check_error(ExitCode::kUsage, [&] { Trainer(std::make_shared<Line>(), options); }, "8 steps, not 9");
}

TEST_CASE("pretraining from nothing makes a folder that samples, and says how each part was made") {
  const TemporaryFolder folder;
  const PretrainOptions options = short_options(folder);
  for (const auto part : {train_vae, train_unet, train_reward, train_checker, check_quality}) REQUIRE(part(options) == 0);

  const auto notes = read_json(options.out + "/training.json");
  for (const char* part : {"vae", "unet_and_text_encoder", "reward", "checker"}) {
    REQUIRE_MESSAGE(notes.contains(part), part);
    CHECK(notes[part]["seed"] == 1);
    CHECK(notes[part]["steps"] == 2);
    CHECK(notes[part]["loss"].get<double>() > 0.0);
    CHECK(notes[part]["seconds"].get<double>() > 0.0);
  }
  const auto quality = read_json(options.work + "/quality.json");
  CHECK(quality["captions"] == 2);
  CHECK(quality["model"]["color"].get<double>() < 1.0);  // two steps teach nothing

  SampleOptions sampling;
  sampling.model = options.out;
  sampling.prompts = {"a large red star"};
  sampling.steps = 2;
  sampling.out = folder.file("pictures");
  sample_pictures(sampling);
  CHECK(std::filesystem::exists(folder.file("pictures/000.png")));
}
