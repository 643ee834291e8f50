#include "common/diffusion/operation_count.h"
#include "common/diffusion/parameters.h"
#include "common/diffusion/stable_diffusion_v1.h"
#include "launch/command.h"
#include "launch/commands/config_options.h"
#include "launch/diagnosis.h"
#include "launch/machine.h"
#include "launch/memory_plan.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <memory>

namespace nabla {

namespace {

std::string flop_line(const char* what, double flop, const torch::nn::Module& network) {
  std::int64_t parameters = 0;
  for (const auto& parameter : network.parameters()) parameters += parameter.numel();
  return fmt::format("{:<24} {:>8.2f} GFLOP  {:>11} parameters\n", what, flop / 1e9, fmt::group_digits(parameters));
}

// Counted from the layers of networks whose weights are never set.
int print_operations() {
  constexpr std::int64_t kSide = kStableDiffusionLatentSide;
  const UNet2DConditionModel unet(stable_diffusion_unet()), flow(official_flow_network());
  const AutoencoderKL vae(stable_diffusion_vae());
  std::fputs("One picture of 512x512, 77 tokens, without guidance; 2 FLOP a multiply-add of convolutions, linear layers and attention:\n",
             stdout);
  std::fputs(flop_line("UNet forward", forward_flop(unet, kSide, kSide, kStableDiffusionTokens), unet).c_str(), stdout);
  std::fputs(flop_line("VAE decode", decode_flop(vae, kSide, kSide), vae).c_str(), stdout);
  std::fputs(flop_line("flow network forward", forward_flop(flow, kSide, kSide, kStableDiffusionTokens), flow).c_str(), stdout);
  return 0;
}

int examine(const CLI::App& command, ConfigSources& sources, bool with_memory) {
  sources.assignments = assignments_of(command);
  const bool has_run = !sources.files.empty() || !sources.assignments.empty();
  const RunConfig config = load_config(sources);
  validate(config);
  std::vector<Finding> findings;
  const auto report = [&](const std::vector<Finding>& more) {
    for (const auto& finding : more) std::fputs(finding_text(finding).c_str(), stdout);
    std::fflush(stdout);
    findings.insert(findings.end(), more.begin(), more.end());
  };
  report(diagnose_machine(config));
  if (with_memory) report(memory_findings(config, plan_memory(config), available_memory_bytes()));
  report(has_run ? diagnose_run(config) : std::vector<Finding>{{Verdict::kOk, "model", "not checked; --config FILE names a run to check"}});
  return static_cast<int>(exit_code_of(findings));
}

}  // namespace

void add_doctor_command(CLI::App& app, Invocation& invocation) {
  auto* command = app.add_subcommand("doctor", "Check whether this machine can run a configuration, and say what to do where not");
  const auto sources = add_config_options(*command);
  const auto flops = std::make_shared<bool>(false);
  command->add_flag("--flops", *flops, "Print what a pass of each network of Stable Diffusion v1.5 costs instead");
  const auto with_memory = std::make_shared<bool>(false);
  command->add_flag("--memory", *with_memory,
                    "Tell what memory actors and learner will take at their peaks, from the shapes of the networks");
  command->footer(
      "Exit code 0 unless a line says failed: 3 for a model or data, else 1.\n"
      "Examples:\n  nabla doctor\n  nabla doctor --config configs/pocket.yaml actors.count=4\n"
      "  nabla doctor --memory --config configs/pocket.yaml fleet.ticket_size=8\n  nabla doctor --flops");
  command->callback([&invocation, command, sources, flops, with_memory] {
    invocation.run = [command, sources, flops, with_memory] {
      return *flops ? print_operations() : examine(*command, *sources, *with_memory);
    };
  });
}

}  // namespace nabla
