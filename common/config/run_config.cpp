#include "common/config/run_config.h"

#include "common/error.h"
#include "common/nearest.h"

#include <algorithm>
#include <charconv>

namespace nabla {

template <class Visitor>
void visit_fields(Visitor& visit, RunSection& config) {
  visit("dir", config.dir, "run folder, taken exactly; empty: runs/<name>/<time>-<short id>");
  visit("name", config.name, "name of the run");
}

template <class Visitor>
void visit_fields(Visitor& visit, TrainingConfig& config) {
  visit("lr", config.lr, "learning rate of the LoRA");
  visit("flow_lr", config.flow_lr, "learning rate of the flow network");
  visit("flow_wd", config.flow_wd, "weight decay of the flow network");
  visit("adam_beta1", config.adam_beta1, "AdamW, mean of the gradient");
  visit("adam_beta2", config.adam_beta2, "AdamW, mean of its square; 0.95 is steadier");
  visit("adam_weight_decay", config.adam_weight_decay, "weight decay of the LoRA");
  visit("adam_epsilon", config.adam_epsilon, "AdamW, added to the root");
  visit("max_grad_norm", config.max_grad_norm, "gradients are clipped to this norm, LoRA and flow each");
  visit("batch_size", config.batch_size, "slots (trajectories) of a micro-step");
  visit("gradient_accumulation_steps", config.gradient_accumulation_steps,
        "micro-steps of an update; S = batch_size times this, for all ranks together");
  visit("updates", config.updates, "optimiser updates to do");
  visit("mixed_precision", config.mixed_precision, "number type of the networks: no (float32)");
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
  visit("pretrained_strength", config.pretrained_strength, "exponent of the base model in the target; 1 in this version");
  visit("reward_adaptive_mode", config.reward_adaptive_mode,
        "gamma of the forward-looking reward gradient: squared (alpha-bar), linear (its root), one");
  visit("gradient", config.gradient, "where reward gradients are taken: policy_fl, reference_fl, terminal");
  visit("reverse_target", config.reverse_target, "target of the reverse loss: official");
  visit("time_weighting", config.time_weighting, "weight of a transition in the forward loss: w2 (official), uniform");
}

template <class Visitor>
void visit_fields(Visitor& visit, ExperimentConfig& config) {
  visit("method", config.method, "objective: Nabla-DB");
  visit("reward_fn", config.reward_fn, "reward: aesthetic_score (alias aesthetic), lantern, mean-red");
  visit("reward_model", config.reward_model, "folder of the aesthetic reward's config.json and model.safetensors");
  visit("reward_sign", config.reward_sign, "1, or -1 to train against the reward (a control)");
  visit("prompt_fn", config.prompt_fn, "prompts: pocket (the lists in the base model's folder), file");
  visit("prompt_file", config.prompt_file, "one prompt a line, for prompt_fn file");
}

template <class Visitor>
void visit_fields(Visitor& visit, SamplingConfig& config) {
  visit("num_steps", config.num_steps, "sampling steps");
  visit("eta", config.eta, "noise of a step relative to DDPM's; training needs more than 0");
  visit("guidance_scale", config.guidance_scale, "classifier-free guidance; 1 turns it off");
  visit("low_var_subsampling", config.low_var_subsampling, "choose transitions one from each part of the trajectory; false: at random");
  visit("scheduler", config.scheduler, "sampler: DDPM or ddim (the same table), sde-dpm-solver++");
}

template <class Visitor>
void visit_fields(Visitor& visit, PretrainedConfig& config) {
  visit("model", config.model, "folder of the base model in diffusers' layout");
}

template <class Visitor>
void visit_fields(Visitor& visit, ActorsConfig& config) {
  visit("count", config.count, "local actors that train starts; 0: only those that connect from outside");
  visit("threads", config.threads, "threads of each actor");
  visit("device", config.device, "device of the actors: cpu, cuda, cuda:<n>");
}

template <class Visitor>
void visit_fields(Visitor& visit, LearnerConfig& config) {
  visit("ranks", config.ranks, "learner processes; 1 in this version");
  visit("threads", config.threads, "threads of the learner");
  visit("device", config.device, "device of the learner: cpu, cuda, cuda:<n>");
  visit("reference", config.reference, "base model's prediction: attached (made by the actor)");
}

template <class Visitor>
void visit_fields(Visitor& visit, FleetConfig& config) {
  visit("lockstep", config.lockstep, "each update names exactly one weight version, so a run repeats bit by bit");
  visit("max_policy_lag", config.max_policy_lag, "updates by which the weights that sampled a trajectory may be behind");
  visit("publish_every", config.publish_every, "updates between two published weight versions");
  visit("lockstep_delay", config.lockstep_delay, "lockstep: publications by which the named version is behind");
  visit("ticket_size", config.ticket_size, "slots of a ticket: the batch an actor samples; divides S");
  visit.alias("sampling.batch_size");
  visit("ticket_timeout", config.ticket_timeout_s, "seconds without progress after which a ticket is issued again");
  visit("actor_deadline", config.actor_deadline_s, "seconds without any connected actor after which the learner gives up");
  visit("max_ticket_attempts", config.max_ticket_attempts, "failures of a ticket after which its slots are discarded");
  visit("max_discard_share", config.max_discard_share, "share of the last 200 slots that may be discarded before the run stops");
  visit("bind", config.bind, "where the learner listens: ipc, or tcp://<loopback address>:<port> (* picks a free one)");
}

template <class Visitor>
void visit_fields(Visitor& visit, LogConfig& config) {
  visit("dir", config.dir, "folder of the trajectory log; empty: RUN/queue");
  visit("durability", config.durability,
        "what an acknowledged trajectory survives: memory, pagecache (a crash of the process), fsync (of the machine)");
}

template <class Visitor>
void visit_fields(Visitor& visit, CheckpointConfig& config) {
  visit("every", config.every, "updates between learner checkpoints; 0 (none) in this version");
  visit("keep", config.keep, "newest checkpoints that stay");
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
}

template <class Visitor>
void visit_fields(Visitor& visit, RunConfig& config) {
  visit("seed", config.seed, "the one seed of all random numbers");
  visit("resume", config.resume, "go on from a checkpoint: never in this version");
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
  visit.group("checkpoint", config.checkpoint);
  visit.group("eval", config.eval);
  visit.group("compat", config.compat);
}

std::vector<Field> fields_of(RunConfig& config) { return fields_of<RunConfig>(config); }

namespace {

template <class... Args>
void require(bool holds, fmt::format_string<Args...> format, Args&&... args) {
  if (!holds) throw usage_error("[config] {}", fmt::format(format, std::forward<Args>(args)...));
}

void require_one_of(const char* key, const std::string& value, const std::vector<std::string>& allowed) {
  const bool known = std::find(allowed.begin(), allowed.end(), value) != allowed.end();
  require(known, "{} is '{}'; allowed: {}", key, value, comma_list(allowed));
}

void require_at_least(const char* key, double value, double least) {
  require(value >= least, "{} is {}; at least {} is needed", key, value, least);
}

void require_between(const char* key, std::int64_t value, std::int64_t least, std::int64_t most) {
  require(value >= least && value <= most, "{} is {}; {} to {} is expected", key, value, least, most);
}

void require_positive(const char* key, double value) { require(value > 0, "{} is {}; it must be above 0", key, value); }

void require_share(const char* key, double value) {
  require(value >= 0 && value <= 1, "{} is {}; a share from 0 to 1 is expected", key, value);
}

void require_device(const char* key, const std::string& device) {
  const bool numbered = device.starts_with("cuda:") && device.size() > 5 && device.find_first_not_of("0123456789", 5) == std::string::npos;
  require(device == "cpu" || device == "cuda" || numbered, "{} is '{}'; cpu, cuda or cuda:<number> is expected", key, device);
}

void validate_training(const TrainingConfig& training) {
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
  require(training.mixed_precision != "bf16", "training.mixed_precision is bf16; this version computes in float32 only, set it to no");
  require_one_of("training.mixed_precision", training.mixed_precision, {"no"});
}

void validate_model(const ModelConfig& model) {
  require_at_least("model.lora_rank", model.lora_rank, 1);
  require_positive("model.lora_alpha", model.lora_alpha);
  require(model.reward_scale >= 0, "model.reward_scale is {}; to train against the reward set experiment.reward_sign=-1",
          model.reward_scale);
  require(model.timestep_fraction > 0 && model.timestep_fraction <= 1, "model.timestep_fraction is {}; above 0 and up to 1 is expected",
          model.timestep_fraction);
  require_at_least("model.flow_layers_per_block", model.flow_layers_per_block, 1);
  require(!model.flow_channel_width.empty(),
          "model.flow_channel_width is empty; give the width of each block, such as [64, 128, 256, 256]");
  for (const std::int64_t width : model.flow_channel_width) require_at_least("model.flow_channel_width", width, 1);
  require_at_least("model.unet_reg_scale", model.unet_reg_scale, 0);
  require_at_least("model.reverse_loss_scale", model.reverse_loss_scale, 0);
  require(!model.no_flow || model.reverse_loss_scale == 0,
          "model.no_flow leaves the reverse loss nothing to train, but model.reverse_loss_scale is {}; set it to 0",
          model.reverse_loss_scale);
  require(model.pretrained_strength == 1,
          "model.pretrained_strength is {}; this version has the exact target for 1 only (other values need sampling.eta 1 "
          "and the term of the backward kernel)",
          model.pretrained_strength);
  require_one_of("model.reward_adaptive_mode", model.reward_adaptive_mode, {"squared", "linear", "one"});
  require(model.gradient != "lean_adjoint",
          "model.gradient is lean_adjoint, which this version does not have; use policy_fl, reference_fl or terminal");
  require_one_of("model.gradient", model.gradient, {"policy_fl", "reference_fl", "terminal"});
  require_one_of("model.reverse_target", model.reverse_target, {"official"});
  require_one_of("model.time_weighting", model.time_weighting, {"w2", "uniform"});
}

void validate_experiment(const ExperimentConfig& experiment) {
  require_one_of("experiment.method", experiment.method, {"Nabla-DB"});
  require_one_of("experiment.reward_fn", experiment.reward_fn, {"aesthetic_score", "aesthetic", "lantern", "mean-red"});
  const bool needs_model = experiment.reward_fn.starts_with("aesthetic");
  require(!needs_model || !experiment.reward_model.empty(),
          "experiment.reward_fn {} needs its weights: set experiment.reward_model to their folder", experiment.reward_fn);
  require(experiment.reward_sign == 1 || experiment.reward_sign == -1, "experiment.reward_sign is {}; 1 or -1 is expected",
          experiment.reward_sign);
  require_one_of("experiment.prompt_fn", experiment.prompt_fn, {"pocket", "file"});
  const bool from_file = experiment.prompt_fn == "file";
  require(!from_file || !experiment.prompt_file.empty(),
          "experiment.prompt_fn is file: set experiment.prompt_file to a file with one prompt a line");
  require(from_file || experiment.prompt_file.empty(),
          "experiment.prompt_file is '{}' but experiment.prompt_fn is {}; set experiment.prompt_fn=file to use it", experiment.prompt_file,
          experiment.prompt_fn);
}

void validate_sampling(const SamplingConfig& sampling) {
  require_at_least("sampling.num_steps", sampling.num_steps, 1);
  require(sampling.eta > 0,
          "sampling.eta is {}; training needs noise in every step (sigma 0 has no score): set it above 0, 1 is the published value",
          sampling.eta);
  require(sampling.eta <= 1, "sampling.eta is {}; above 1 a step's variance exceeds what its end state has", sampling.eta);
  require_at_least("sampling.guidance_scale", sampling.guidance_scale, 0);
  require_one_of("sampling.scheduler", sampling.scheduler, {"DDPM", "ddpm", "DDIM", "ddim", "sde-dpm-solver++"});
  require(sampling.scheduler != "sde-dpm-solver++" || sampling.eta == 1,
          "sampling.scheduler sde-dpm-solver++ is defined for sampling.eta 1, not {}", sampling.eta);
}

void require_bind_address(const std::string& bind) {
  if (bind == "ipc") return;
  const std::size_t colon = bind.rfind(':');
  require(bind.starts_with("tcp://") && colon > 6, "fleet.bind is '{}'; ipc or tcp://<address>:<port> is expected", bind);
  const std::string host = bind.substr(6, colon - 6), port = bind.substr(colon + 1);
  std::uint16_t number = 0;
  const auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), number);
  const bool is_port = port == "*" || (code == std::errc{} && end == port.data() + port.size());
  require(is_port, "fleet.bind is '{}'; '{}' is no port (0 to 65535, or * for a free one)", bind, port);
  const bool loopback = host.starts_with("127.") || host == "localhost" || host == "[::1]";
  require(loopback,
          "fleet.bind is '{}'; other machines could connect, and this version has no keys to tell friend from stranger: bind 127.0.0.1 and "
          "tunnel, such as with ssh -L",
          bind);
}

void validate_fleet(const RunConfig& config) {
  const FleetConfig& fleet = config.fleet;
  require_between("fleet.max_policy_lag", fleet.max_policy_lag, 0, 1'000'000);
  require_between("fleet.publish_every", fleet.publish_every, 1, 1'000'000);
  require_between("fleet.lockstep_delay", fleet.lockstep_delay, 0, 1'000'000);
  require(fleet.publish_every <= fleet.max_policy_lag + 1,
          "fleet.publish_every {} with fleet.max_policy_lag {} could never issue a ticket: between two publications "
          "the lag grows to {}",
          fleet.publish_every, fleet.max_policy_lag, fleet.publish_every - 1);
  require(fleet.lockstep || fleet.lockstep_delay == 0,
          "fleet.lockstep_delay is {} but fleet.lockstep is false; the delay has no meaning without it", fleet.lockstep_delay);
  const std::int64_t lockstep_lag = fleet.publish_every * (fleet.lockstep_delay + 1) - 1;
  require(!fleet.lockstep || lockstep_lag <= fleet.max_policy_lag,
          "lockstep with fleet.publish_every {} and fleet.lockstep_delay {} has a lag of up to {}; "
          "fleet.max_policy_lag is {}",
          fleet.publish_every, fleet.lockstep_delay, lockstep_lag, fleet.max_policy_lag);
  require_at_least("fleet.ticket_size", fleet.ticket_size, 1);
  const std::int64_t slots = config.slots_per_update();
  require(slots % fleet.ticket_size == 0,
          "fleet.ticket_size {} does not divide the {} slots of an update (training.batch_size {} x gradient_accumulation_steps {}); "
          "set fleet.ticket_size (alias sampling.batch_size) to a divisor",
          fleet.ticket_size, slots, config.training.batch_size, config.training.gradient_accumulation_steps);
  require_positive("fleet.ticket_timeout", fleet.ticket_timeout_s);
  require_positive("fleet.actor_deadline", fleet.actor_deadline_s);
  require_at_least("fleet.max_ticket_attempts", fleet.max_ticket_attempts, 1);
  require_share("fleet.max_discard_share", fleet.max_discard_share);
  require_bind_address(fleet.bind);
}

void validate_processes(const RunConfig& config) {
  require_at_least("actors.count", config.actors.count, 0);
  require_at_least("actors.threads", config.actors.threads, 1);
  require_device("actors.device", config.actors.device);
  require(config.learner.ranks == 1, "learner.ranks is {}; this version trains on one rank", config.learner.ranks);
  require_at_least("learner.threads", config.learner.threads, 1);
  require_device("learner.device", config.learner.device);
  require(config.learner.reference != "paired",
          "learner.reference is paired, which this version does not have; float32 networks need attached only");
  require_one_of("learner.reference", config.learner.reference, {"attached"});
}

void validate_storage(const RunConfig& config) {
  require_one_of("log.durability", config.log.durability, {"memory", "pagecache", "fsync"});
  require(config.checkpoint.every == 0,
          "checkpoint.every is {}; this version writes no learner checkpoints: set it to 0, and rebuild weights from the log "
          "with nabla replay",
          config.checkpoint.every);
  require_at_least("checkpoint.keep", config.checkpoint.keep, 1);
  require(
      config.resume == "never",
      "resume is '{}'; this version has no checkpoints to go on from: set it to never, and rebuild weights from the log with nabla replay",
      config.resume);
  require_at_least("eval.every", config.eval.every, 0);
  require_at_least("eval.prompts", config.eval.prompts, 1);
  require_at_least("eval.seeds", config.eval.seeds, 1);
  if (!config.eval.true_reward.empty()) require_one_of("eval.true_reward", config.eval.true_reward, {"lantern", "mean-red"});
}

}  // namespace

void validate(const RunConfig& config) {
  validate_training(config.training);
  validate_model(config.model);
  validate_experiment(config.experiment);
  validate_sampling(config.sampling);
  validate_fleet(config);
  validate_processes(config);
  validate_storage(config);
  require(!config.compat.flow_from_forward_loss || !config.model.no_flow,
          "compat.flow_from_forward_loss needs the flow network, but model.no_flow is true");
  require(!config.pretrained.model.empty(), "pretrained.model is empty; set it to a model folder in diffusers' layout");
}

}  // namespace nabla
