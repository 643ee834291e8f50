#include "common/error.h"
#include "common/log.h"
#include "launch/command.h"
#include "launch/pretrain/base_model.h"
#include "launch/pretrain/checker_training.h"
#include "launch/pretrain/quality_check.h"
#include "launch/pretrain/reward_training.h"

#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>

#include <memory>

namespace nabla {

namespace {

struct PretrainCommand {
  PretrainOptions options;
  bool vae = false, unet = false, reward = false, checker = false, check = false;
};

int pretrain(PretrainCommand command) {
  init_logging({.role = "pretrain"});
  at::set_num_threads(command.options.threads);
  const bool all = !(command.vae || command.unet || command.reward || command.checker || command.check);
  using Part = int (*)(const PretrainOptions&);
  const std::pair<bool, Part> parts[] = {{command.vae, train_vae}, {command.unet, train_unet}, {command.reward, train_reward},
                                         {command.checker, train_checker}, {command.check, check_quality}};
  for (const auto& [chosen, part] : parts) {
    if (!all && !chosen) continue;
    if (const int code = part(command.options); code != 0) return code;
  }
  return 0;
}

}  // namespace

void add_pretrain_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("pretrain", "Train the pocket model, its reward and its picture checker from nothing; goes on where it stopped");
  const auto chosen = std::make_shared<PretrainCommand>();
  PretrainOptions& options = chosen->options;
  command->add_flag("--vae", chosen->vae, "This part: the autoencoder (default: all parts, in this order)");
  command->add_flag("--unet", chosen->unet, "This part: UNet and text encoder; needs the autoencoder");
  command->add_flag("--reward", chosen->reward, "This part: the aesthetic reward at pocket size");
  command->add_flag("--checker", chosen->checker, "This part: the classifier that judges pictures");
  command->add_flag("--check", chosen->check, "This part: sample held-out captions and judge them");
  command->add_option("--out", options.out, "Folder of the finished model")->capture_default_str()->type_name("DIR");
  command->add_option("--work", options.work, "Folder of checkpoints; training resumes from it")->capture_default_str()->type_name("DIR");
  command->add_option("--seed", options.seed, "Seed of all random numbers")->capture_default_str()->check(CLI::NonNegativeNumber);
  command->add_option("--threads", options.threads, "Threads")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--vae-steps", options.vae_steps, "Steps of the autoencoder")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--unet-steps", options.unet_steps, "Steps of UNet and text encoder")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--reward-steps", options.reward_steps, "Steps of the reward")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--checker-steps", options.checker_steps, "Steps of the checker")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--latent-pictures", options.latent_pictures, "Pictures that UNet and text encoder see")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--checkpoint-every", options.checkpoint_every, "Steps between checkpoints")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--captions", options.captions, "Held-out captions of --check")->capture_default_str()->check(CLI::PositiveNumber);
  command->footer("Examples:\n  nabla pretrain --out pocket --work runs/pretrain\n  nabla pretrain --check --out assets/pocket --work runs/check --captions 64");
  command->callback([&invocation, chosen] { invocation.run = [chosen] { return pretrain(*chosen); }; });
}

}  // namespace nabla
