#include "launch/command.h"
#include "launch/conversion.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

namespace nabla {

void add_convert_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand(
      "convert", "Turn pickled weights into safetensors, a single file into a model folder, or a folder into a single file");
  const auto options = std::make_shared<ConversionOptions>();
  command->add_option("source", options->source, "*.ckpt, *.pt, *.pth, *.bin, *.safetensors, model folder, or name in the hub cache")
      ->required()
      ->type_name("SOURCE");
  command->add_option("target", options->target, "*.safetensors, or the folder to make; nothing is overwritten")
      ->required()
      ->type_name("TARGET");
  command->add_option("--dtype", options->dtype, "float32, float16 or bfloat16 (default: as in the source)");
  command
      ->add_option("--like", options->like,
                   "Model folder whose configurations and tokenizer a single file takes (default: Stable Diffusion v1.5's, and tokenizer/ beside the file)")
      ->type_name("FOLDER");
  command->footer(
      "Pickled files are read without running anything of them.\n"
      "Examples:\n  nabla convert v1-5-pruned-emaonly.ckpt models/stable-diffusion-v1-5\n  nabla convert models/mine mine.safetensors "
      "--dtype float16");
  command->callback([&invocation, options] {
    invocation.run = [options] {
      std::printf("%s\n", convert_weights(*options).c_str());
      return 0;
    };
  });
}

}  // namespace nabla
