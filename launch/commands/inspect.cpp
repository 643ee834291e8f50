#include "common/error.h"
#include "launch/command.h"
#include "launch/inspection.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>

namespace nabla {

namespace {

struct InspectCommand {
  std::string path;
  bool json = false;
};

std::string inspected(const InspectCommand& command) {
  try {
    const nlohmann::ordered_json inspection = inspect_path(command.path);
    if (!command.json) return inspection_text(inspection);
    return inspection.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  } catch (const nlohmann::json::exception& error) {
    throw data_error("[inspect] '{}' holds a file with values of other types than nabla writes: {}", command.path, error.what());
  }
}

int inspect(const InspectCommand& command) {
  std::fputs(inspected(command).c_str(), stdout);
  return 0;
}

}  // namespace

void add_inspect_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("inspect", "Say what stands in a file of weights, a run, a trajectory log or a model folder");
  const auto chosen = std::make_shared<InspectCommand>();
  command->add_option("path", chosen->path, "*.safetensors, *.ckpt, *.pt, *.pth, *.bin, run folder, folder of a trajectory log, model folder or name in the hub cache")
      ->required()
      ->type_name("PATH");
  command->add_flag("--json", chosen->json, "Print JSON");
  command->footer(
      "Examples:\n  nabla inspect runs/pocket/latest\n  nabla inspect --json assets/pocket/unet/diffusion_pytorch_model.safetensors");
  command->callback([&invocation, chosen] { invocation.run = [chosen] { return inspect(*chosen); }; });
}

}  // namespace nabla
