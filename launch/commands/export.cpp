#include "launch/command.h"
#include "launch/lora_export.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

namespace nabla {

void add_export_command(CLI::App& app, Invocation& invocation) {
  auto* command =
      app.add_subcommand("export", "Write a run's LoRA, or any LoRA file, for diffusers, ComfyUI and A1111, or merge it into its model");
  const auto options = std::make_shared<ExportOptions>();
  command->add_option("source", options->source, "Folder of a run, with @VERSION or without, or a LoRA file (diffusers, peft, kohya)")
      ->required()
      ->type_name("RUN[@VERSION]|LORA");
  command
      ->add_option("--out", options->target,
                   "Folder to make; with --merge a model folder, or *.safetensors for a single file; nothing is overwritten")
      ->required()
      ->type_name("TARGET");
  command->add_option("--model", options->model, "Base model (default: the run's)")->type_name("DIR");
  command->add_flag("--merge", options->merge, "Write the whole model with the LoRA merged into its weights");
  command->add_option("--lora-scale", options->lora_scale, "Multiplies the LoRA")->capture_default_str();
  command->add_option("--dtype", options->dtype, "Of a merged model: float32, float16 or bfloat16 (default: as in the base model)");
  command->footer(
      "Examples:\n  nabla export runs/aesthetic/latest --out lora\n"
      "  nabla export runs/aesthetic/latest@100 --merge --dtype float16 --out aesthetic.safetensors");
  command->callback([&invocation, options] {
    invocation.run = [options] {
      for (const auto& line : export_lora(*options)) std::printf("%s\n", line.c_str());
      return 0;
    };
  });
}

}  // namespace nabla
