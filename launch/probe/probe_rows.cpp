#include "launch/probe/probe_rows.h"

#include "common/error.h"
#include "common/nearest.h"
#include "launch/probe/probe_setup.h"

#include <torch/types.h>

#include <algorithm>

namespace nabla {

namespace {

std::int32_t step_of(const StepTable& table, std::int64_t timestep, std::int64_t next_timestep, const std::string& path) {
  std::vector<std::string> known;
  for (std::size_t step = 0; step < table.transitions.size(); ++step) {
    const Transition& transition = table.transitions[step];
    if (transition.timestep == timestep && transition.next_timestep == next_timestep) return static_cast<std::int32_t>(step);
    known.push_back(fmt::format("{} to {}", transition.timestep, transition.next_timestep));
  }
  throw data_error(
      "[probe] {}: tensors 'timestep' and 'next_timestep' hold the transition {} to {}, expected those of the table {}: {}; is "
      "sampling.num_steps right?",
      path, timestep, next_timestep, table.id, comma_list(known));
}

LoraAdapter attach_lora(UNet2DConditionModel& unet, const ProbeOptions& options) {
  return LoraAdapter::attach(unet, options.lora.empty() ? TensorMap() : read_lora_file(options.lora, unet), options.lora_scale);
}

}  // namespace

ProbeModel open_probe_model(const ProbeOptions& options) {
  if (options.device != "cpu")
    throw usage_error("[probe] --device is '{}'; transitions are probed on the cpu in this version", options.device);
  if (network_dtype(options) == at::kBFloat16)
    throw usage_error("[probe] --dtype is bfloat16; transitions are probed in float32 or float64");
  const SamplingConfig& sampling = options.config.sampling;
  ProbeModel model;
  model.folder = open_model(options);
  model.table = make_step_table(model.folder.scheduler(), sampler_from_name(sampling.scheduler), sampling.num_steps, sampling.eta);
  model.unet = model.folder.load_unet(network_dtype(options));
  model.policy = std::make_unique<Policy>(model.unet, attach_lora(*model.unet, options), sampling.guidance_scale);
  return model;
}

ProbeRows read_rows(TensorInput& input, const StepTable& table) {
  ProbeRows rows;
  rows.x = input.floats("x", "N,C,h,w");
  rows.y = input.floats("y", "N,C,h,w");
  rows.timestep = input.integers("timestep", "N");
  rows.next_timestep = input.integers("next_timestep", "N");
  rows.is_terminal = input.flags("is_terminal", "N");
  for (std::int64_t row = 0; row < rows.x.size(0); ++row) {
    rows.steps.push_back(
        step_of(table, rows.timestep[row].item<std::int64_t>(), rows.next_timestep[row].item<std::int64_t>(), input.path()));
    rows.transitions.push_back(table.transitions[static_cast<std::size_t>(rows.steps.back())]);
    if (rows.transitions.back().weight) continue;
    throw usage_error(
        "[probe] the transition from t = {} has no noise (sigma = 0), so it has no density to train with; use sampling.eta > 0 and, in "
        "scheduler_config.json, set_alpha_to_one: false",
        rows.transitions.back().timestep);
  }
  return rows;
}

std::vector<std::string> prompts_of_rows(const ProbeOptions& options, std::int64_t num_rows) {
  if (options.prompts.empty()) return std::vector<std::string>(static_cast<std::size_t>(num_rows));
  std::vector<std::string> prompts = read_lines(options.prompts);
  if (static_cast<std::int64_t>(prompts.size()) == num_rows) return prompts;
  throw data_error("[probe] {} has {} lines, but tensor 'x' of {} holds {} transitions; expected one prompt a transition", options.prompts,
                   prompts.size(), options.in, num_rows);
}

}  // namespace nabla
