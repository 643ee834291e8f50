#include "learner/learner_memory.h"

#include "common/config/record_needs.h"
#include "common/diffusion/model_folder.h"
#include "common/diffusion/policy.h"
#include "learner/flow_network.h"
#include "learner/losses/objective.h"
#include "learner/losses/objective_config.h"
#include "learner/make_optimizer.h"
#include "learner/transition_choice.h"

#include <torch/types.h>

#include <memory>

namespace nabla {

namespace {

// The networks of make_learner_model() as shapes, with their optimisers.
struct Outline {
  explicit Outline(const RunConfig& config) {
    const Placement placement(placement_of(config.training.mixed_precision, "cpu", "learner.device").dtype, at::kMeta);
    const ModelFolder folder = ModelFolder::open(config.pretrained.model);
    table =
        make_step_table(folder.scheduler(), sampler_from_name(config.sampling.scheduler), config.sampling.num_steps, config.sampling.eta);
    text_encoder = folder.load_text_encoder(placement);
    const auto unet = folder.load_unet(placement);
    if (config.learner.activation_checkpointing) unet->set_activations(Activations::kRecomputed);
    const LoraConfig lora{.rank = config.model.lora_rank, .alpha = config.model.lora_alpha};
    policy = std::make_unique<Policy>(unet, lora, config.sampling.guidance_scale, config.seed);
    policy->lora().require_grad(true);
    policy_optimizer = make_policy_optimizer(config.training, policy->lora().parameters());
    latent_shape = {unet->config().in_channels, unet->config().sample_size, unet->config().sample_size};
    if (!record_needs_of(config).flow) return;
    flow = std::make_shared<UNet2DConditionModel>(flow_config(unet->config(), config.model));
    place_parameters(*flow, Placement(at::kFloat, at::kMeta));
    flow_optimizer = make_flow_optimizer(config.training, flow->parameters());
  }

  StepTable table;
  std::shared_ptr<ClipTextModel> text_encoder;
  std::unique_ptr<Policy> policy;
  std::shared_ptr<UNet2DConditionModel> flow;
  std::unique_ptr<Optimizer> policy_optimizer, flow_optimizer;  // the second is null where there is no flow network
  std::vector<std::int64_t> latent_shape;
};

Tensor shape_of(std::vector<std::int64_t> sizes) { return at::empty(sizes, at::TensorOptions(at::kFloat).device(at::kMeta)); }

Tensor latents_of(const Outline& outline, std::int64_t rows) {
  return shape_of({rows, outline.latent_shape[0], outline.latent_shape[1], outline.latent_shape[2]});
}

TransitionBatch shape_of_batch(const RunConfig& config, const Outline& outline, std::int64_t slots, std::int64_t rows) {
  const RecordNeeds needs = record_needs_of(config);
  TransitionBatch batch;
  set_transitions(batch, std::vector<Transition>(static_cast<std::size_t>(rows), outline.table.transitions.front()), at::kFloat);
  KernelColumns& kernel = batch.kernel;
  for (Tensor* column :
       {&batch.timestep, &batch.next_timestep, &batch.weight, &batch.alpha_bar, &batch.alpha_bar_next, &kernel.x_coefficient,
        &kernel.noise_coefficient, &kernel.variance, &kernel.noise, &kernel.noise_next, &kernel.noise_step, &kernel.alpha})
    *column = column->to(at::kMeta);
  const std::pair<bool, Tensor*> fields[] = {{true, &batch.x},
                                             {true, &batch.y},
                                             {true, &batch.eps_behaviour},
                                             {needs.eps_reference, &batch.eps_reference},
                                             {needs.reward_grad_y, &batch.reward_grad_y},
                                             {needs.reward_grad_x, &batch.reward_grad_x},
                                             {needs.reward_grad_x0, &batch.reward_grad_x0},
                                             {needs.reverse_score_reference, &batch.reverse_score_reference},
                                             {needs.reverse_score_policy, &batch.reverse_score_policy},
                                             {needs.reverse_rao_blackwell, &batch.reverse_rao_blackwell}};
  for (const auto& [wanted, field] : fields) {
    if (wanted) *field = latents_of(outline, rows);
  }
  if (needs.renoised > 0) {
    batch.renoised_x = latents_of(outline, slots * needs.renoised);
    batch.renoised_reward_grad = latents_of(outline, slots * needs.renoised);
    batch.renoised_row = at::zeros({slots * needs.renoised}, batch.timestep.options());
  }
  batch.is_terminal = shape_of({rows}).to(at::kBool);
  batch.slot_weight = shape_of({rows});
  batch.slot_terminal_weight = shape_of({rows});
  batch.advantage = shape_of({rows});
  batch.num_slots = slots;
  return batch;
}

// As Predictor does, but for which rows are terminal: shapes do not know, so the last of each slot are taken.
Predictions predict(const Outline& outline, const ObjectiveConfig& objective, const TransitionBatch& batch, const Conditioning& prompts) {
  Predictions predictions;
  predictions.eps = outline.policy->predict(WeightMode::kAdapter, batch.x, batch.timestep, prompts);
  const std::int64_t rows = batch.x.size(0), trained = objective.flow_from_forward_loss ? rows : batch.num_slots;
  if (objective.method == Method::kDraftLv) {
    const std::int64_t noisings = batch.renoised_x.size(0);
    const Conditioning each{prompts.prompt_embeds.narrow(0, 0, 1).repeat({noisings, 1, 1}), prompts.negative_embeds};
    predictions.eps_renoised =
        outline.policy->predict(WeightMode::kAdapter, batch.renoised_x, batch.timestep.narrow(0, 0, 1).repeat({noisings}), each);
  }
  if (!objective.flow) return predictions;
  const auto first = [](const Tensor& tensor, std::int64_t count) { return tensor.narrow(0, 0, count); };
  const Tensor flow =
      outline.flow->forward(at::cat({batch.x, first(batch.y, trained)}), at::cat({batch.timestep, first(batch.timestep, trained)}),
                            at::cat({prompts.prompt_embeds, first(prompts.prompt_embeds, trained)}));
  predictions.flow_x = flow.narrow(0, 0, rows);
  predictions.flow_y = flow.narrow(0, rows, trained);
  if (trained == rows) return predictions;
  const at::NoGradGuard no_grad;
  const std::int64_t others = rows - trained;
  const Tensor rest = outline.flow->forward(first(batch.y, others), first(batch.timestep, others), first(prompts.prompt_embeds, others));
  const at::AutoGradMode record(true);
  predictions.flow_y = at::cat({predictions.flow_y, rest});
  return predictions;
}

}  // namespace

RoleMemory plan_learner_memory(const RunConfig& config) {
  ShapeMemory memory;
  Outline outline(config);
  const ObjectiveConfig objective = objective_of(config);
  const std::int64_t slots = config.training.batch_size, rows = slots * rows_per_slot(transition_choice_of(config));
  RoleMemory plan{.weights = memory.live_bytes(), .stages = {}};
  memory.forget_peak();
  const TransitionBatch batch = shape_of_batch(config, outline, slots, rows);
  const ClipTextConfig& text = outline.text_encoder->config();
  const Conditioning prompts{shape_of({rows, text.max_position_embeddings, text.hidden_size}),
                             shape_of({1, text.max_position_embeddings, text.hidden_size})};
  // From the second micro-batch on there are gradients already.
  for (int micro_batch = 0; micro_batch < 2; ++micro_batch)
    make_objective(objective)->compute(batch, predict(outline, objective, batch, prompts)).loss.backward();
  outline.policy_optimizer->step();
  if (outline.flow_optimizer) outline.flow_optimizer->step();
  plan.stages["update"] = memory.peak_bytes();
  return plan;
}

std::int64_t record_bytes_of_update(const RunConfig& config, const std::vector<std::int64_t>& latent_shape) {
  const RecordNeeds needs = record_needs_of(config);
  const std::int64_t rows = rows_per_slot(transition_choice_of(config));
  std::int64_t latents = 0;
  for (const auto& name : tensor_names(needs)) latents += rows_of_tensor(name, needs, rows);
  for (const std::int64_t size : latent_shape) latents *= size;
  return config.slots_per_update() * latents * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace nabla
