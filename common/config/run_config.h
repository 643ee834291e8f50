#pragma once

#include "common/config/fields.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

// The configuration of a run. Key names are "<group>.<field>"; groups and fields follow the official configuration file where it has them.

struct RunSection {
  std::string dir;  // exact run folder; empty: runs/<name>/<time>-<short id>
  std::string name = "nabla";
};

struct TrainingConfig {
  double lr = 1e-3, flow_lr = 1e-3, flow_wd = 1e-2;
  double adam_beta1 = 0.9, adam_beta2 = 0.999, adam_weight_decay = 1e-4, adam_epsilon = 1e-8;
  double max_grad_norm = 1.0;
  std::int64_t batch_size = 4, gradient_accumulation_steps = 8, updates = 200;
  std::string mixed_precision = "no";  // no | bf16
  std::string optimizer = "adamw";  // adamw | lion
  double lion_beta1 = 0.9, lion_beta2 = 0.99;
  std::string lr_scheduler = "constant";  // constant | linear | cosine, after lr_warmup_steps updates
  std::int64_t lr_warmup_steps = 0;
  double ema_decay = 0.0;  // 0: no averaged weights
};

struct ModelConfig {
  std::int64_t lora_rank = 8;
  double lora_alpha = 8.0;
  double reward_scale = 1e3, timestep_fraction = 0.1;
  std::int64_t flow_layers_per_block = 1;
  std::vector<std::int64_t> flow_channel_width{64, 128, 256, 256};
  double unet_reg_scale = 1e3, reverse_loss_scale = 1.0;
  bool no_flow = false;
  double pretrained_strength = 1.0;
  std::string pretrained_strength_mode = "exact";  // exact | official; means something for pretrained_strength below 1 only
  std::string reward_adaptive_mode = "squared";    // gamma: squared alpha-bar, linear its root, one 1
  std::string gradient = "policy_fl";              // policy_fl | reference_fl | terminal | lean_adjoint
  double reward_grad_clip_percentile = 0.0;        // 0: off
  std::string reverse_target = "official";         // official | rao_blackwell | true_gradient
  std::string time_weighting = "w2";               // w2 | uniform | sigma
  std::string terminal_weighting = "official";     // official | uniform
  std::string unet_reg_anchor = "behaviour";       // behaviour | previous | ema
  double unet_reg_ema_decay = 0.99;
  bool flow_prompt_conditioned = true;
  double ddpo_clip_range = 1e-4;
  std::int64_t draft_lv_samples = 2;
  double refl_last_fraction = 0.3;
};

struct ExperimentConfig {
  std::string method = "Nabla-DB";            // the residual form; Plain-Nabla-DB | ReFL | DRaFT-1 | DRaFT-LV | DDPO | Adjoint-Matching
  std::string reward_fn = "aesthetic_score";  // aesthetic_score (alias aesthetic), hpscore, imagereward, lantern, mean-red
  std::string reward_model = "assets/pocket/reward";
  std::int64_t reward_sign = 1;      // -1: the control that trains against the reward
  std::string prompt_fn = "pocket";  // names of prompt_function_names()
  std::string prompt_file;           // file or folder of the list, by prompt function
};

struct SamplingConfig {
  std::int64_t num_steps = 50;
  double eta = 1.0, guidance_scale = 5.0;
  bool low_var_subsampling = true;
  std::string scheduler = "DDPM";  // names of sampler_from_name
};

struct PretrainedConfig {
  std::string model = "assets/pocket";
};

struct ActorsConfig {
  std::int64_t count = 2, threads = 1;
  std::string device = "cpu";
  std::int64_t decode_rows = 0;  // pictures decoded at once; 0: all
  bool activation_checkpointing = false, cuda_graphs = false;
};

struct LearnerConfig {
  double rendezvous_deadline_s = 120.0;  // keys learner.rendezvous_deadline, learner.collective_deadline and learner.late_deadline
  double collective_deadline_s = 30.0, late_deadline_s = 600.0;
  std::int64_t digest_every = 10;  // updates; 0: ranks are not compared
  std::int64_t ranks = 1, threads = 1;
  std::string device = "cpu";
  std::string reference = "attached";  // attached | paired
  bool activation_checkpointing = false;
  std::int64_t max_restarts = 5;
};

struct FleetConfig {
  bool lockstep = false, relabel_before_update = false;
  std::int64_t max_policy_lag = 3, publish_every = 1, lockstep_delay = 0;
  std::int64_t ticket_size = 16;
  double ticket_timeout_s = 60.0;   // key fleet.ticket_timeout
  double actor_deadline_s = 120.0;  // key fleet.actor_deadline
  std::int64_t max_ticket_attempts = 3;
  double max_discard_share = 0.05;
  std::string bind = "ipc";       // ipc, or tcp://<address>:<port, * picks one>
  std::int64_t weights_port = 0;  // of the same address; 0: a free one
};

struct LogConfig {
  std::string dir;                       // empty: RUN/queue
  std::string durability = "pagecache";  // memory | pagecache | fsync
};

struct HttpConfig {
  std::string bind, actor_bind;  // <address>:<port>, port 0 picks a free one; empty: no TCP
};

struct SecurityConfig {
  std::string keys;  // folder made by `nabla keys new`; empty: no keys
};

struct CheckpointConfig {
  std::int64_t every = 20;      // updates; 0: only when the run is stopped
  std::int64_t keep = 2;        // the newest so many stay,
  std::int64_t keep_every = 0;  // and those of updates that are multiples of it (0: none),
  bool keep_best = true;        // and that of the best evaluation
  bool reserve = true;          // room on the disk for one more
};

struct EvalConfig {
  std::int64_t every = 10;  // updates; 0: only the first and the last version
  std::int64_t prompts = 16, seeds = 4;
  std::string prompt_file;  // empty: the evaluation list of the training prompts
  std::string true_reward;  // lantern | mean-red; empty: none
  std::string checker;      // weights of the picture checker; empty: none
};

// What the official release does and this project does not, switch by switch (docs/defects.md).
struct CompatConfig {
  bool flow_from_forward_loss = false;
  std::int64_t adam_steps_per_grad = 1;          // official: 2
  std::string reverse_terminal_target = "kept";  // kept | zero
  std::string flow_out_init = "zero";            // zero | default_weight
  bool x0hat_bf16 = false;
  std::string terminal_gamma = "one";  // one | alpha_bar
  std::string prompts = "as_listed";   // as_listed | paintings_only
};

struct RunConfig {
  RunSection run;
  std::uint64_t seed = 0;
  std::string resume = "never";  // never | auto | latest | run folder or checkpoint
  TrainingConfig training;
  ModelConfig model;
  ExperimentConfig experiment;
  SamplingConfig sampling;
  PretrainedConfig pretrained;
  ActorsConfig actors;
  LearnerConfig learner;
  FleetConfig fleet;
  LogConfig log;
  HttpConfig http;
  SecurityConfig security;
  CheckpointConfig checkpoint;
  EvalConfig eval;
  CompatConfig compat;

  // S: slots of one update of the whole run.
  std::int64_t slots_per_update() const { return training.batch_size * training.gradient_accumulation_steps; }
};

// The fields of a run's configuration; `config` must outlive them.
std::vector<Field> fields_of(RunConfig& config);

// Throws usage_error, with the reason and the way out, on a value that no run can have and on values that contradict each other.
void require_consistent(const RunConfig& config);
// Throws usage_error where the run would listen to other machines without keys and `insecure`, which stands on the command line alone, is not set.
void require_trust(const RunConfig& config, bool insecure);
// Throws usage_error where tickets of a run with actors would span several ranks.
void require_tickets_of_one_rank(const RunConfig& config);
// Throws usage_error on an option that this version does not have.
void require_available(const RunConfig& config);
// Both. Nothing is started before it passed.
void validate(const RunConfig& config);

}  // namespace nabla
