#include "actors/actor_memory.h"

#include "actors/slot_points.h"
#include "common/config/record_needs.h"
#include "common/error.h"

#include <torch/types.h>

#include <algorithm>

namespace nabla {

namespace {

Placement outlines(const RunConfig& config) {
  return Placement(placement_of(config.training.mixed_precision, "cpu", "actors.device").dtype, at::kMeta);
}

// The networks of make_workbench() as shapes.
Workbench outline_workbench(const RunConfig& config) {
  const Placement placement = outlines(config);
  const ModelFolder folder = ModelFolder::open(config.pretrained.model);
  Workbench bench;
  bench.device = placement.device;
  bench.table =
      make_step_table(folder.scheduler(), sampler_from_name(config.sampling.scheduler), config.sampling.num_steps, config.sampling.eta);
  bench.vae = folder.load_vae(placement);
  bench.text_encoder = folder.load_text_encoder(placement);
  const auto unet = folder.load_unet(placement);
  if (config.actors.activation_checkpointing) unet->set_activations(Activations::kRecomputed);
  bench.decode_rows = config.actors.decode_rows;
  const LoraConfig lora{.rank = config.model.lora_rank, .alpha = config.model.lora_alpha};
  bench.policy = std::make_unique<Policy>(unet, lora, config.sampling.guidance_scale, config.seed);
  bench.reward = make_reward({.name = config.experiment.reward_fn, .model = config.experiment.reward_model, .device = placement.device});
  const UNetConfig& shape = unet->config();
  bench.latent_shape = {shape.in_channels, shape.sample_size, shape.sample_size};
  return bench;
}

Tensor shape_of_rows(std::int64_t rows, const std::vector<std::int64_t>& row) {
  std::vector<std::int64_t> sizes{rows};
  sizes.insert(sizes.end(), row.begin(), row.end());
  return at::empty(sizes, at::TensorOptions(at::kFloat).device(at::kMeta));
}

Conditioning shape_of_prompts(const Workbench& bench, std::int64_t rows) {
  const std::int64_t tokens = bench.text_encoder->config().max_position_embeddings, width = bench.text_encoder->config().hidden_size;
  return {shape_of_rows(rows, {tokens, width}), shape_of_rows(1, {tokens, width})};
}

// The rows of a ticket: the same spread of steps in each trajectory, the terminal one last.
ChosenPoints shape_of_points(const Workbench& bench, const RecordNeeds& needs, std::int64_t slots, std::int64_t rows_each) {
  ChosenPoints points;
  const auto steps = static_cast<std::int64_t>(bench.table.transitions.size());
  std::vector<std::int64_t> timestep, next_timestep, terminal;
  for (std::int64_t row = 0; row < slots * rows_each; ++row) {
    const std::int64_t step = needs.terminal_row ? (row % rows_each + 1) * steps / rows_each - 1 : 0;
    const Transition& transition = bench.table.transitions[static_cast<std::size_t>(step)];
    points.steps.push_back(static_cast<std::int32_t>(step));
    points.prompts.emplace_back();
    timestep.push_back(transition.timestep);
    next_timestep.push_back(transition.next_timestep);
    terminal.push_back(step + 1 == steps ? 1 : 0);
  }
  points.timestep = torch::tensor(timestep, at::kLong);
  points.next_timestep = torch::tensor(next_timestep, at::kLong);
  points.is_terminal = torch::tensor(terminal, at::kLong).to(at::kBool);
  points.conditioning = shape_of_prompts(bench, slots * rows_each);
  for (Tensor* tensor : {&points.x, &points.y, &points.eps_behaviour, &points.terminal_latents})
    *tensor = shape_of_rows(slots * rows_each, bench.latent_shape);
  if (needs.gradient_kind == "lean_adjoint") {
    for (std::int64_t step = 0; step <= steps; ++step) points.trajectories.states.push_back(shape_of_rows(slots, bench.latent_shape));
  }
  if (needs.renoised > 0) points.trajectories.renoising = shape_of_rows(slots * needs.renoised, bench.latent_shape);
  return points;
}

}  // namespace

RoleMemory plan_actor_memory(const RunConfig& config, std::int64_t rows_each) {
  ShapeMemory memory;
  Workbench bench = outline_workbench(config);
  const RecordNeeds needs = record_needs_of(config);
  RoleMemory plan{.weights = memory.live_bytes(), .stages = {}};
  const std::int64_t slots = config.fleet.ticket_size;
  const ChosenPoints points = shape_of_points(bench, needs, slots, rows_each);
  memory.forget_peak();
  {
    // Steps are alike.
    StepTable first_step = bench.table;
    first_step.transitions.resize(1);
    const auto noise = [&](std::size_t) { return shape_of_rows(slots, bench.latent_shape); };
    sample_latents(*bench.policy, WeightMode::kMerged, first_step, shape_of_prompts(bench, slots), noise(0), noise, {});
    plan.stages["sampling"] = memory.peak_bytes();
  }
  memory.forget_peak();
  PointOptions options;
  if (needs.gradient_kind != "none") options.gradient = gradient_kind_from_name(needs.gradient_kind);
  options.want = wants_of(needs);
  options.decode_rows = bench.decode_rows;
  evaluate_points(*bench.policy, *bench.vae, *bench.reward, bench.table, points, options);
  plan.stages["points"] = memory.peak_bytes();
  return plan;
}

}  // namespace nabla
