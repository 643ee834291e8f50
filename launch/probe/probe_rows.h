#pragma once

#include "common/diffusion/model_folder.h"
#include "common/diffusion/policy.h"
#include "common/diffusion/transition_kernel.h"
#include "launch/probe/probe.h"
#include "launch/probe/tensor_input.h"

#include <memory>
#include <string>
#include <vector>

namespace nabla {

// What probes of transitions have in common: the tensors of `terms` that `loss` takes too.

// Model and sampler of options.config, on the CPU in float32 or float64; usage_error for others.
struct ProbeModel {
  ModelFolder folder;
  StepTable table;
  std::shared_ptr<UNet2DConditionModel> unet;
  std::unique_ptr<Policy> policy;  // without --lora the base model itself
};
ProbeModel open_probe_model(const ProbeOptions& options);

struct ProbeRows {
  Tensor x, y;                          // [N,C,h,w]
  Tensor timestep, next_timestep;       // [N] int64
  Tensor is_terminal;                   // [N] bool
  std::vector<std::int32_t> steps;      // [N] index into the step table
  std::vector<Transition> transitions;  // [N]
};
// x, y, timestep, next_timestep and is_terminal of the input. data_error for transitions that the table does not have.
ProbeRows read_rows(TensorInput& input, const StepTable& table);

// One prompt a row of --prompts; empty ones without it.
std::vector<std::string> prompts_of_rows(const ProbeOptions& options, std::int64_t num_rows);

}  // namespace nabla
