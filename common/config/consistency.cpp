#include "common/config/contradictions.h"
#include "common/config/require.h"
#include "common/config/run_config.h"
#include "common/prompt_functions.h"

namespace nabla {

namespace {

void check_steps(const TrainingConfig& training) {
  require_one_of("training.optimizer", training.optimizer, {"adamw", "lion"});
  require(training.lion_beta1 >= 0 && training.lion_beta1 < 1, "training.lion_beta1 is {}; from 0 to below 1 is expected", training.lion_beta1);
  require(training.lion_beta2 >= 0 && training.lion_beta2 < 1, "training.lion_beta2 is {}; from 0 to below 1 is expected", training.lion_beta2);
  require_one_of("training.lr_scheduler", training.lr_scheduler, {"constant", "linear", "cosine"});
  require_at_least("training.lr_warmup_steps", training.lr_warmup_steps, 0);
  require(training.lr_scheduler == "constant" || training.lr_warmup_steps < training.updates,
          "training.lr_warmup_steps is {}, but training.updates is {}: nothing is left for training.lr_scheduler {}; set it below that",
          training.lr_warmup_steps, training.updates, training.lr_scheduler);
  require(training.ema_decay >= 0 && training.ema_decay < 1, "training.ema_decay is {}; from 0 (none) to below 1 is expected",
          training.ema_decay);
}

void check_training(const TrainingConfig& training) {
  require_at_least("training.lr", training.lr, 0);
  require_at_least("training.flow_lr", training.flow_lr, 0);
  require_at_least("training.flow_wd", training.flow_wd, 0);
  require(training.adam_beta1 >= 0 && training.adam_beta1 < 1, "training.adam_beta1 is {}; from 0 to below 1 is expected",
          training.adam_beta1);
  require(training.adam_beta2 >= 0 && training.adam_beta2 < 1, "training.adam_beta2 is {}; from 0 to below 1 is expected",
          training.adam_beta2);
  require_at_least("training.adam_weight_decay", training.adam_weight_decay, 0);
  require_positive("training.adam_epsilon", training.adam_epsilon);
  require_positive("training.max_grad_norm", training.max_grad_norm);
  require_between("training.batch_size", training.batch_size, 1, 1'000'000);
  require_between("training.gradient_accumulation_steps", training.gradient_accumulation_steps, 1, 1'000'000);
  require_at_least("training.updates", training.updates, 1);
  require_one_of("training.mixed_precision", training.mixed_precision, {"no", "bf16"});
  check_steps(training);
}

void check_model_sizes(const ModelConfig& model) {
  require_at_least("model.lora_rank", model.lora_rank, 1);
  require_positive("model.lora_alpha", model.lora_alpha);
  require_at_least("model.flow_layers_per_block", model.flow_layers_per_block, 1);
  require(!model.flow_channel_width.empty(),
          "model.flow_channel_width is empty; give the width of each block, such as [64, 128, 256, 256]");
  for (const std::int64_t width : model.flow_channel_width) require_at_least("model.flow_channel_width", width, 1);
}

void check_objective(const ModelConfig& model) {
  require(model.reward_scale >= 0, "model.reward_scale is {}; to train against the reward set experiment.reward_sign=-1",
          model.reward_scale);
  require(model.timestep_fraction > 0 && model.timestep_fraction <= 1, "model.timestep_fraction is {}; above 0 and up to 1 is expected",
          model.timestep_fraction);
  require_at_least("model.unet_reg_scale", model.unet_reg_scale, 0);
  require_at_least("model.reverse_loss_scale", model.reverse_loss_scale, 0);
  require(model.pretrained_strength > 0 && model.pretrained_strength <= 1,
          "model.pretrained_strength is {}; above 0 and up to 1 is expected", model.pretrained_strength);
  require_one_of("model.pretrained_strength_mode", model.pretrained_strength_mode, {"exact", "official"});
  require_one_of("model.reward_adaptive_mode", model.reward_adaptive_mode, {"squared", "linear", "one"});
  require_one_of("model.gradient", model.gradient, {"policy_fl", "reference_fl", "terminal", "lean_adjoint"});
  require(model.reward_grad_clip_percentile >= 0 && model.reward_grad_clip_percentile < 100,
          "model.reward_grad_clip_percentile is {}; from 0 (off) to below 100 is expected", model.reward_grad_clip_percentile);
  require_one_of("model.reverse_target", model.reverse_target, {"official", "rao_blackwell", "true_gradient"});
  require_one_of("model.time_weighting", model.time_weighting, {"w2", "uniform", "sigma"});
  require_one_of("model.terminal_weighting", model.terminal_weighting, {"official", "uniform"});
  require_one_of("model.unet_reg_anchor", model.unet_reg_anchor, {"behaviour", "previous", "ema"});
  require(model.unet_reg_ema_decay >= 0 && model.unet_reg_ema_decay < 1, "model.unet_reg_ema_decay is {}; from 0 to below 1 is expected",
          model.unet_reg_ema_decay);
  require_positive("model.ddpo_clip_range", model.ddpo_clip_range);
  require_at_least("model.draft_lv_samples", model.draft_lv_samples, 1);
  require(model.refl_last_fraction > 0 && model.refl_last_fraction <= 1, "model.refl_last_fraction is {}; above 0 and up to 1 is expected",
          model.refl_last_fraction);
}

void check_experiment(const ExperimentConfig& experiment) {
  require_one_of("experiment.method", experiment.method,
                 {"Nabla-DB", "Plain-Nabla-DB", "ReFL", "DRaFT-1", "DRaFT-LV", "DDPO", "Adjoint-Matching"});
  require_one_of("experiment.reward_fn", experiment.reward_fn,
                 {"aesthetic_score", "aesthetic", "hpscore", "imagereward", "lantern", "mean-red"});
  const bool needs_model = experiment.reward_fn != "lantern" && experiment.reward_fn != "mean-red";
  require(!needs_model || !experiment.reward_model.empty(),
          "experiment.reward_fn {} needs its weights: set experiment.reward_model to their folder", experiment.reward_fn);
  require(experiment.reward_sign == 1 || experiment.reward_sign == -1, "experiment.reward_sign is {}; 1 or -1 is expected",
          experiment.reward_sign);
  require_one_of("experiment.prompt_fn", experiment.prompt_fn, prompt_function_names());
  const std::string needed = needed_prompt_file(experiment.prompt_fn);
  require(needed.empty() || !experiment.prompt_file.empty(), "experiment.prompt_fn is {}: set experiment.prompt_file to {}",
          experiment.prompt_fn, needed);
  require(experiment.prompt_fn != "pocket" || experiment.prompt_file.empty(),
          "experiment.prompt_file is '{}' but experiment.prompt_fn is {}; set experiment.prompt_fn=file to use it", experiment.prompt_file,
          experiment.prompt_fn);
}

void check_sampling(const SamplingConfig& sampling) {
  require_at_least("sampling.num_steps", sampling.num_steps, 1);
  require(sampling.eta > 0,
          "sampling.eta is {}; training needs noise in every step (sigma 0 has no score): set it above 0, 1 is the published value",
          sampling.eta);
  require(sampling.eta <= 1, "sampling.eta is {}; above 1 a step's variance exceeds what its end state has", sampling.eta);
  require_at_least("sampling.guidance_scale", sampling.guidance_scale, 0);
  require_one_of("sampling.scheduler", sampling.scheduler,
                 {"DDPM", "ddpm", "DDIM", "ddim", "sde-dpm-solver++", "dpm-solver", "DPM-solver"});
}

void check_fleet(const FleetConfig& fleet) {
  require_between("fleet.max_policy_lag", fleet.max_policy_lag, 0, 1'000'000);
  require_between("fleet.publish_every", fleet.publish_every, 1, 1'000'000);
  require_between("fleet.lockstep_delay", fleet.lockstep_delay, 0, 1'000'000);
  require_at_least("fleet.ticket_size", fleet.ticket_size, 1);
  require_positive("fleet.ticket_timeout", fleet.ticket_timeout_s);
  require_positive("fleet.actor_deadline", fleet.actor_deadline_s);
  require_at_least("fleet.max_ticket_attempts", fleet.max_ticket_attempts, 1);
  require_share("fleet.max_discard_share", fleet.max_discard_share);
  require_bind_address(fleet.bind);
  require_between("fleet.weights_port", fleet.weights_port, 0, 65535);
  require(fleet.weights_port == 0 || fleet.bind != "ipc",
          "fleet.weights_port is {} but fleet.bind is ipc, which has no ports: bind tcp://<address>:<port>", fleet.weights_port);
}

void check_processes(const RunConfig& config) {
  require_at_least("actors.count", config.actors.count, 0);
  require_at_least("actors.threads", config.actors.threads, 1);
  require_device("actors.device", config.actors.device);
  require_at_least("actors.decode_rows", config.actors.decode_rows, 0);
  require_between("learner.ranks", config.learner.ranks, 1, config.slots_per_update());
  require_positive("learner.rendezvous_deadline", config.learner.rendezvous_deadline_s);
  require_at_least("learner.collective_deadline", config.learner.collective_deadline_s, 3);
  require_at_least("learner.late_deadline", config.learner.late_deadline_s, config.learner.collective_deadline_s);
  require_at_least("learner.digest_every", config.learner.digest_every, 0);
  require_at_least("learner.threads", config.learner.threads, 1);
  require_device("learner.device", config.learner.device);
  require_one_of("learner.reference", config.learner.reference, {"attached", "paired"});
  require_between("learner.max_restarts", config.learner.max_restarts, 0, 1'000'000);
}

void check_storage(const RunConfig& config) {
  require_file_name("run.name", config.run.name);
  require_one_of("log.durability", config.log.durability, {"memory", "pagecache", "fsync"});
  require_at_least("checkpoint.every", config.checkpoint.every, 0);
  require_at_least("checkpoint.keep", config.checkpoint.keep, 1);
  require_at_least("checkpoint.keep_every", config.checkpoint.keep_every, 0);
  require(!config.resume.empty(), "resume is empty; expected never, auto, latest, or a run folder or checkpoint");
  require_at_least("eval.every", config.eval.every, 0);
  require_at_least("eval.prompts", config.eval.prompts, 1);
  require_at_least("eval.seeds", config.eval.seeds, 1);
  if (!config.eval.true_reward.empty()) require_one_of("eval.true_reward", config.eval.true_reward, {"lantern", "mean-red"});
}

void check_http(const HttpConfig& http) {
  require_http_address("http.bind", http.bind);
  require_http_address("http.actor_bind", http.actor_bind);
}

void check_compat(const CompatConfig& compat) {
  require_between("compat.adam_steps_per_grad", compat.adam_steps_per_grad, 1, 16);
  require_one_of("compat.reverse_terminal_target", compat.reverse_terminal_target, {"kept", "zero"});
  require_one_of("compat.flow_out_init", compat.flow_out_init, {"zero", "default_weight"});
  require_one_of("compat.terminal_gamma", compat.terminal_gamma, {"one", "alpha_bar"});
  require_one_of("compat.prompts", compat.prompts, {"as_listed", "paintings_only"});
}

}  // namespace

void require_consistent(const RunConfig& config) {
  check_training(config.training);
  check_model_sizes(config.model);
  check_objective(config.model);
  check_experiment(config.experiment);
  check_sampling(config.sampling);
  check_fleet(config.fleet);
  check_processes(config);
  check_storage(config);
  check_http(config.http);
  check_compat(config.compat);
  require(!config.pretrained.model.empty(),
          "pretrained.model is empty; set it to a model folder in diffusers' layout, a single file or a name in the hub cache");
  require_no_contradictions(config);
}

void require_trust(const RunConfig& config, bool insecure) {
  require(!insecure || config.security.keys.empty(), "security.keys is '{}' and --insecure was said; leave one of them out",
          config.security.keys);
  require(insecure || !config.security.keys.empty() || is_loopback_bind(config.fleet.bind),
          "fleet.bind is '{}', which other machines can reach, and there are no keys to tell friend from stranger: make some with `nabla "
          "keys new "
          "--dir KEYS server` and set security.keys=KEYS; or bind tcp://127.0.0.1:* and tunnel (ssh -L); or say --insecure on the command "
          "line, "
          "if everybody who reaches that port may send work",
          config.fleet.bind);
}

void require_tickets_of_one_rank(const RunConfig& config) {
  const std::int64_t slots = config.slots_per_update(), ranks = config.learner.ranks;
  require(slots % ranks == 0 && slots / ranks % config.fleet.ticket_size == 0,
          "learner.ranks {} shares the {} slots of an update, and a ticket's slots belong to one rank, but fleet.ticket_size is {}; set it "
          "(alias "
          "sampling.batch_size) to a divisor of the slots of a rank, or learner.ranks to a divisor of {}",
          ranks, slots, config.fleet.ticket_size, slots);
}

void validate(const RunConfig& config) {
  require_consistent(config);
  require_available(config);
}

}  // namespace nabla
