#include "common/config/run_config.h"

namespace nabla {

template <class Visitor>
void visit_fields(Visitor& visit, RunSection& config) {
  visit("dir", config.dir, "run folder, taken exactly; empty: runs/<name>/<time>-<short id>");
  visit("name", config.name, "name of the run");
  visit.alias("exp_name");
}

template <class Visitor>
void visit_fields(Visitor& visit, TrainingConfig& config) {
  visit("lr", config.lr, "learning rate of the LoRA");
  visit("flow_lr", config.flow_lr, "learning rate of the flow network");
  visit("flow_wd", config.flow_wd, "weight decay of the flow network");
  visit("adam_beta1", config.adam_beta1, "AdamW, mean of the gradient");
  visit("adam_beta2", config.adam_beta2, "AdamW, mean of its square; 0.95 is steadier");
  visit("adam_weight_decay", config.adam_weight_decay, "weight decay of the LoRA, with either optimizer");
  visit("adam_epsilon", config.adam_epsilon, "AdamW, added to the root");
  visit("max_grad_norm", config.max_grad_norm, "gradients are clipped to this norm, LoRA and flow each");
  visit("batch_size", config.batch_size, "slots (trajectories) of a micro-step");
  visit("gradient_accumulation_steps", config.gradient_accumulation_steps,
        "micro-steps of an update; S = batch_size times this, for all ranks together");
  visit("updates", config.updates, "optimiser updates to do");
  visit("mixed_precision", config.mixed_precision,
        "number type of the frozen networks: no (float32), bf16; LoRA, flow network, states and rewards stay float32");
  visit("optimizer", config.optimizer, "what steps with the gradients of LoRA and flow network: adamw, lion (takes 3 to 10 times smaller lr)");
  visit("lion_beta1", config.lion_beta1, "Lion, share of the momentum in a step's direction");
  visit("lion_beta2", config.lion_beta2, "Lion, decay of the momentum");
  visit("lr_scheduler", config.lr_scheduler,
        "course of both learning rates after the warm-up: constant, linear or cosine (down to 0 at training.updates)");
  visit("lr_warmup_steps", config.lr_warmup_steps, "updates over which both learning rates rise from 0; 0: none");
  visit("ema_decay", config.ema_decay,
        "decay of an average of the LoRA over the updates, which is exported beside it (export/ema) and trains nothing; 0: none");
}

template <class Visitor>
void visit_fields(Visitor& visit, ModelConfig& config) {
  visit("lora_rank", config.lora_rank, "rank of the LoRA");
  visit("lora_alpha", config.lora_alpha, "the LoRA is scaled by lora_alpha / lora_rank");
  visit("reward_scale", config.reward_scale, "beta: how strongly the reward tilts the base model; 0 leaves it as it is");
  visit("timestep_fraction", config.timestep_fraction,
        "share of a trajectory's transitions that are trained, the terminal one comes on top");
  visit("flow_layers_per_block", config.flow_layers_per_block, "layers a block of the flow network");
  visit("flow_channel_width", config.flow_channel_width, "widths of the flow network's blocks");
  visit("unet_reg_scale", config.unet_reg_scale,
        "lambda: keeps predictions near those of the policy that sampled; with uniform time weighting use 0.1 to 1");
  visit("reverse_loss_scale", config.reverse_loss_scale, "weight of the reverse loss; 0 turns it off");
  visit("no_flow", config.no_flow, "train without the flow network; needs reverse_loss_scale 0");
  visit("pretrained_strength", config.pretrained_strength, "eta: exponent of the base model in the target, above 0 and up to 1");
  visit("pretrained_strength_mode", config.pretrained_strength_mode,
        "below strength 1: exact (with the term of the backward kernel), official (without it)");
  visit("reward_adaptive_mode", config.reward_adaptive_mode,
        "gamma of the forward-looking reward gradient: squared (alpha-bar), linear (its root), one");
  visit("gradient", config.gradient, "where reward gradients are taken: policy_fl, reference_fl, terminal, lean_adjoint");
  visit("reward_grad_clip_percentile", config.reward_grad_clip_percentile,
        "reward gradients longer than this percentile of the batch are scaled down to it; 0: off");
  visit("reverse_target", config.reverse_target,
        "target of the reverse loss: official (policy's own score), rao_blackwell (less noise), true_gradient (trains the policy too)");
  visit("time_weighting", config.time_weighting, "weight of a transition in the forward loss: w2 (official), uniform, sigma");
  visit("terminal_weighting", config.terminal_weighting,
        "rows of a slot: official (plain mean, the last step counts most), uniform (by 1 / chance of being chosen)");
  visit("unet_reg_anchor", config.unet_reg_anchor,
        "what unet_reg_scale holds the policy to: behaviour (weights that sampled), previous (one update ago), ema");
  visit("unet_reg_ema_decay", config.unet_reg_ema_decay, "decay an update of the averaged weights of unet_reg_anchor ema");
  visit("flow_prompt_conditioned", config.flow_prompt_conditioned, "the flow network sees the prompt; false: it sees an empty one");
  visit("ddpo_clip_range", config.ddpo_clip_range, "DDPO: likelihood ratios are clipped to 1 plus or minus this");
  visit("draft_lv_samples", config.draft_lv_samples, "DRaFT-LV: noisings of the last step that are averaged");
  visit("refl_last_fraction", config.refl_last_fraction, "ReFL: the step it trains is drawn from this last share of the steps");
}

template <class Visitor>
void visit_fields(Visitor& visit, ExperimentConfig& config) {
  visit("method", config.method, "objective: Nabla-DB (residual), Plain-Nabla-DB, ReFL, DRaFT-1, DRaFT-LV, DDPO, Adjoint-Matching");
  visit("reward_fn", config.reward_fn, "reward: aesthetic_score (alias aesthetic), hpscore, imagereward, lantern, mean-red");
  visit("reward_model", config.reward_model, "folder of the aesthetic reward's config.json and model.safetensors");
  visit("reward_sign", config.reward_sign, "1, or -1 to train against the reward (a control)");
  visit("prompt_fn", config.prompt_fn,
        "prompts: pocket (the lists in the base model's folder), file, simple_animals, drawbench, hpd_photo_painting and the release's "
        "others");
  visit("prompt_file", config.prompt_file, "one prompt a line, for prompt_fn file; the list or folder that another prompt_fn reads");
}

template <class Visitor>
void visit_fields(Visitor& visit, SamplingConfig& config) {
  visit("num_steps", config.num_steps, "sampling steps");
  visit("eta", config.eta, "noise of a step relative to DDPM's; training needs more than 0");
  visit("guidance_scale", config.guidance_scale, "classifier-free guidance; 1 turns it off");
  visit("low_var_subsampling", config.low_var_subsampling, "choose transitions one from each part of the trajectory; false: at random");
  visit("scheduler", config.scheduler, "sampler: DDPM or ddim (the same table), sde-dpm-solver++ (alias dpm-solver)");
}

template <class Visitor>
void visit_fields(Visitor& visit, PretrainedConfig& config) {
  visit("model", config.model, "base model: folder in diffusers' layout, single file or name in the hub cache (docs/models.md)");
}

template <class Visitor>
void visit_fields(Visitor& visit, ActorsConfig& config) {
  visit("count", config.count, "local actors that train starts; 0: only those that connect from outside");
  visit("threads", config.threads, "threads of each actor");
  visit("device", config.device, "device of the actors: cpu, cuda (local actors take turns over the machine's GPUs), cuda:<n>");
  visit("decode_rows", config.decode_rows, "pictures that an actor decodes at once, which bounds the decoder's memory; 0: all of a chunk");
  visit("activation_checkpointing", config.activation_checkpointing,
        "keep only the inputs of the U-Net's blocks for its gradients and compute the rest again: less memory, one more forward pass each");
  visit("cuda_graphs", config.cuda_graphs, "replay the sampler's network as one CUDA graph; the CPU runs it as ever");
}

template <class Visitor>
void visit_fields(Visitor& visit, LearnerConfig& config) {
  visit("ranks", config.ranks, "learner processes that share each update's slots (docs/learner-group.md)");
  visit("rendezvous_deadline", config.rendezvous_deadline_s, "seconds within which all ranks must have come together");
  visit("collective_deadline", config.collective_deadline_s,
        "seconds after which a rank that gives no sign of life is taken for dead or frozen");
  visit("late_deadline", config.late_deadline_s, "seconds that ranks wait for one that lives but is busy with something else");
  visit("digest_every", config.digest_every, "updates after which ranks compare their weights and optimisers; 0: never");
  visit("threads", config.threads, "threads of the learner");
  visit("device", config.device, "device of the learner: cpu, cuda, cuda:<n>");
  visit("reference", config.reference,
        "base model's prediction: attached (made by the actor; with bf16 only where its noise proves small, else paired), paired (made by "
        "the "
        "learner beside the policy's)");
  visit("activation_checkpointing", config.activation_checkpointing, "the same as of the actors, in the learner's gradients");
  visit("max_restarts", config.max_restarts, "times that train starts a learner again that was killed or lost its peers; actors stay");
}

template <class Visitor>
void visit_fields(Visitor& visit, FleetConfig& config) {
  visit("lockstep", config.lockstep, "each update names exactly one weight version, so a run repeats bit by bit");
  visit("relabel_before_update", config.relabel_before_update,
        "recompute an update's reward gradients and reverse scores with its own weights before it is trained, as the release does");
  visit("max_policy_lag", config.max_policy_lag, "updates by which the weights that sampled a trajectory may be behind");
  visit("publish_every", config.publish_every, "updates between two published weight versions");
  visit("lockstep_delay", config.lockstep_delay, "lockstep: publications by which the named version is behind");
  visit("ticket_size", config.ticket_size, "slots of a ticket: the batch an actor samples; divides S");
  visit.alias("sampling.batch_size");
  visit("ticket_timeout", config.ticket_timeout_s, "seconds without progress after which a ticket is issued again");
  visit("actor_deadline", config.actor_deadline_s, "seconds without any connected actor after which the learner gives up");
  visit("max_ticket_attempts", config.max_ticket_attempts, "failures of a ticket after which its slots are discarded");
  visit("max_discard_share", config.max_discard_share, "share of the last 200 slots that may be discarded before the run stops");
  visit("bind", config.bind,
        "where the learner listens: ipc, or tcp://<address>:<port> (* picks a free one); other addresses than loopback need security.keys");
  visit("weights_port", config.weights_port, "TCP port that serves the weights, on fleet.bind's address; 0 picks a free one");
}

template <class Visitor>
void visit_fields(Visitor& visit, LogConfig& config) {
  visit("dir", config.dir, "folder of the trajectory log; empty: RUN/queue");
  visit("durability", config.durability,
        "what an acknowledged trajectory survives: memory, pagecache (a crash of the process), fsync (of the machine)");
}

template <class Visitor>
void visit_fields(Visitor& visit, HttpConfig& config) {
  visit("bind", config.bind,
        "where the learner serves status and metrics to read: <address>:<port>, port 0 picks a free one; empty: not over TCP");
  visit("actor_bind", config.actor_bind, "the same for the metrics of each actor; actor N of nabla train takes this port + N");
}

template <class Visitor>
void visit_fields(Visitor& visit, SecurityConfig& config) {
  visit("keys", config.keys, "folder of the learner's keys and of its allow-list, made by nabla keys new; empty: actors need no key");
}

template <class Visitor>
void visit_fields(Visitor& visit, CheckpointConfig& config) {
  visit("every", config.every, "updates between checkpoints of the learner; 0: only when the run is stopped");
  visit("keep", config.keep, "newest checkpoints that stay");
  visit("keep_every", config.keep_every, "checkpoints of updates that are multiples of it stay too; 0: none");
  visit("keep_best", config.keep_best, "the checkpoint of the best evaluation stays too (evaluate when checkpoints are written)");
  visit("reserve", config.reserve, "keep room for one more checkpoint, so that a run that fills the disk still ends with one");
}

template <class Visitor>
void visit_fields(Visitor& visit, EvalConfig& config) {
  visit("every", config.every, "updates between evaluations on fixed prompts and noise; 0: the first and the last version only");
  visit("prompts", config.prompts, "prompts of an evaluation");
  visit("seeds", config.seeds, "pictures a prompt");
  visit("prompt_file", config.prompt_file, "one prompt a line; empty: the evaluation list that comes with the training prompts");
  visit("true_reward", config.true_reward, "held-out reward that shows reward hacking: lantern, mean-red; empty: none");
  visit("checker", config.checker, "weights file of the classifier that judges whether pictures show their prompts; empty: none");
}

template <class Visitor>
void visit_fields(Visitor& visit, CompatConfig& config) {
  visit("flow_from_forward_loss", config.flow_from_forward_loss,
        "let the forward loss train the flow network too, as the official release does");
  visit("adam_steps_per_grad", config.adam_steps_per_grad, "optimiser steps taken with each gradient; the official release takes 2");
  visit("reverse_terminal_target", config.reverse_terminal_target, "reverse loss of the last step: kept, zero (official)");
  visit("flow_out_init", config.flow_out_init,
        "last layer of a fresh flow network: zero, default_weight (official: only its bias is zero)");
  visit("x0hat_bf16", config.x0hat_bf16, "round alpha-bar to bfloat16 before the clean prediction, as the official release does");
  visit("terminal_gamma", config.terminal_gamma, "gamma of the last state's reward gradient: one, alpha_bar (official)");
  visit("prompts", config.prompts, "hpd_photo_painting: as_listed, paintings_only (what the official release's growing list tends to)");
}

template <class Visitor>
void visit_fields(Visitor& visit, RunConfig& config) {
  visit("seed", config.seed, "the one seed of all random numbers");
  visit("resume", config.resume,
        "go on with a run: never, auto (run.dir, where it holds one), latest (the last one of run.name), or a run folder or checkpoint");
  visit.group("run", config.run);
  visit.group("pretrained", config.pretrained);
  visit.group("experiment", config.experiment);
  visit.group("model", config.model);
  visit.group("training", config.training);
  visit.group("sampling", config.sampling);
  visit.group("fleet", config.fleet);
  visit.group("actors", config.actors);
  visit.group("learner", config.learner);
  visit.group("log", config.log);
  visit.group("http", config.http);
  visit.group("security", config.security);
  visit.group("checkpoint", config.checkpoint);
  visit.group("eval", config.eval);
  visit.group("compat", config.compat);
}

std::vector<Field> fields_of(RunConfig& config) { return fields_of<RunConfig>(config); }

}  // namespace nabla
