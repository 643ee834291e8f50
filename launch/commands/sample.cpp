#include "common/clock.h"
#include "common/error.h"
#include "common/heap.h"
#include "common/log.h"
#include "common/prompt_source.h"
#include "launch/command.h"
#include "launch/picture_sampler.h"

#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

namespace nabla {

namespace {

struct SampleCommand {
  SampleOptions options;
  std::string prompts_file;
  int threads = 1;
  bool quiet = false;
};

std::vector<std::string> prompts_of(const SampleCommand& command) {
  if (command.prompts_file.empty()) return command.options.prompts;
  if (!command.options.prompts.empty()) throw usage_error("[sample] --prompt and --prompts exclude each other; give one of them");
  const PromptSource source = PromptSource::from_file(command.prompts_file);
  std::vector<std::string> prompts;
  for (std::int64_t i = 0; i < source.size(); ++i) prompts.push_back(source.at(i).text);
  return prompts;
}

int sample(SampleCommand command) {
  if (command.threads < 1) throw usage_error("[sample] --threads is {}; at least 1 is needed", command.threads);
  init_logging({.role = "sample", .quiet = command.quiet});
  at::set_num_threads(command.threads);
  command.options.prompts = prompts_of(command);
  const double start = monotonic_seconds();
  const std::vector<std::string> pictures = sample_pictures(command.options);
  const nlohmann::ordered_json result{{"pictures", pictures}, {"seconds", monotonic_seconds() - start}, {"peak_rss_bytes", peak_resident_bytes()}};
  fmt::print("{}\n", result.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  return 0;
}

}  // namespace

void add_sample_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("sample", "Sample pictures of a model, with or without a LoRA, into PNG files and a grid");
  const auto chosen = std::make_shared<SampleCommand>();
  SampleOptions& options = chosen->options;
  command->add_option("--model", options.model, "Model: folder in diffusers' layout, single file or name in the hub cache")->capture_default_str()->type_name("DIR");
  command->add_option("--lora", options.lora, "LoRA file: diffusers, peft, kohya")->type_name("FILE");
  command->add_option("--lora-scale", options.lora_scale, "Strength of the LoRA")->capture_default_str();
  command->add_option("--prompt", options.prompts, "A prompt; may be given several times")->type_name("TEXT")->allow_extra_args(false);
  command->add_option("--prompts", chosen->prompts_file, "Prompts, one a line")->type_name("FILE");
  command->add_option("--steps", options.steps, "Sampling steps")->capture_default_str();
  command->add_option("--guidance", options.guidance, "Guidance scale; 1 is none")->capture_default_str();
  command->add_option("--eta", options.eta, "Noise of each step: 0 DDIM, 1 DDPM")->capture_default_str();
  command->add_option("--sampler", options.sampler, "ddim or sde-dpm-solver++")->capture_default_str();
  command->add_option("--seed", options.seed, "Seed of all noise")->capture_default_str();
  command->add_option("--height", options.height, "Pixels (default: what the model was trained at)");
  command->add_option("--width", options.width, "Pixels (default: what the model was trained at)");
  command->add_option("--out", options.out, "Folder of the pictures")->capture_default_str()->type_name("DIR");
  command->add_option("--noise", options.noise_file, "Noise to use: start_noise [N,C,h,w] and step_noise [S,N,C,h,w]")->type_name("FILE");
  command->add_option("--dump-trajectory", options.trajectory_file, "Write latents, predictions, timesteps and images as tensors")
      ->type_name("FILE");
  command->add_option("--dtype", options.dtype, "Weights and arithmetic: float32, float64 or bfloat16")->capture_default_str();
  command->add_option("--device", options.device, "cpu or cuda:N")->capture_default_str();
  command->add_option("--threads", chosen->threads, "Threads")->capture_default_str();
  command->add_flag("--quiet", chosen->quiet, "Warnings and errors only");
  command->footer(
      "Prints {\"pictures\": [...], \"seconds\": ..., \"peak_rss_bytes\": ...}.\n"
      "Examples:\n  nabla sample --model assets/pocket --prompt \"a large red star\" --prompt \"two small blue circles\" --out pictures\n"
      "  nabla sample --model assets/pocket --lora runs/pocket/latest/export/pytorch_lora_weights.safetensors --prompts prompts.txt --seed "
      "2");
  command->callback([&invocation, chosen] { invocation.run = [chosen] { return sample(*chosen); }; });
}

}  // namespace nabla
