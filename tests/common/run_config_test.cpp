#include "common/config/run_config.h"
#include "tests/common/error_check.h"

#include <set>

namespace nabla {

namespace {

RunConfig configured(const std::vector<std::string>& assignments) {
  RunConfig config;
  const auto fields = fields_of(config);
  for (const std::string& assignment : assignments) apply_assignment(fields, assignment);
  return config;
}

void check_consistent(const std::vector<std::string>& assignments) { require_consistent(configured(assignments)); }

template <class... Parts>
void check_invalid(const std::vector<std::string>& assignments, const Parts&... parts) {
  check_error(
      ExitCode::kUsage, [&] { validate(configured(assignments)); }, parts...);
}

}  // namespace

TEST_CASE("the default configuration is valid") {
  validate(RunConfig{});
  CHECK(RunConfig{}.slots_per_update() == 32);
}

TEST_CASE("the official file's names and defaults are there") {
  RunConfig config;
  const auto fields = fields_of(config);
  const std::vector<std::pair<const char*, const char*>> official{{"training.lr", "0.001"},
                                                                  {"training.flow_lr", "0.001"},
                                                                  {"training.flow_wd", "0.01"},
                                                                  {"training.adam_beta1", "0.9"},
                                                                  {"training.adam_beta2", "0.999"},
                                                                  {"training.adam_weight_decay", "0.0001"},
                                                                  {"training.adam_epsilon", "1e-08"},
                                                                  {"training.max_grad_norm", "1"},
                                                                  {"training.batch_size", "4"},
                                                                  {"training.gradient_accumulation_steps", "8"},
                                                                  {"model.lora_rank", "8"},
                                                                  {"model.reward_scale", "1000"},
                                                                  {"model.timestep_fraction", "0.1"},
                                                                  {"model.flow_layers_per_block", "1"},
                                                                  {"model.flow_channel_width", "[64, 128, 256, 256]"},
                                                                  {"model.unet_reg_scale", "1000"},
                                                                  {"model.reverse_loss_scale", "1"},
                                                                  {"model.no_flow", "false"},
                                                                  {"model.pretrained_strength", "1"},
                                                                  {"model.reward_adaptive_mode", "squared"},
                                                                  {"experiment.method", "Nabla-DB"},
                                                                  {"sampling.num_steps", "50"},
                                                                  {"sampling.eta", "1"},
                                                                  {"sampling.guidance_scale", "5"},
                                                                  {"sampling.batch_size", "16"},
                                                                  {"sampling.low_var_subsampling", "true"},
                                                                  {"sampling.scheduler", "DDPM"}};
  for (const auto& [key, value] : official) {
    INFO(key);
    CHECK(find_field(fields, key).get() == value);
  }
}

TEST_CASE("keys are unique, have help, and print to YAML once each") {
  RunConfig config;
  std::set<std::string> keys;
  for (const Field& field : fields_of(config)) {
    CHECK(keys.insert(field.path).second);
    CHECK_FALSE(field.help.empty());
    CHECK(field.help.find('\n') == std::string::npos);
  }
  const std::string yaml = to_yaml(fields_of(config));
  for (const char* group : {"\ntraining:\n", "\nfleet:\n", "\neval:\n"}) CHECK(yaml.find(group) == yaml.rfind(group));
}

TEST_CASE("commands of the official README work as they are") {
  const RunConfig config = configured({"--config.model.reward_scale=1e4", "--config.sampling.low_var_subsampling=True",
                                       "--config.model.unet_reg_scale=2e3", "--config.sampling.batch_size=8"});
  validate(config);
  CHECK(config.model.reward_scale == 1e4);
  CHECK(config.fleet.ticket_size == 8);
}

TEST_CASE("unknown names are refused with the nearest and all allowed ones") {
  check_invalid({"training.optimizer=adam"}, "did you mean 'adamw'", "lion");
  check_invalid({"training.lr_scheduler=cosine_with_restarts"}, "constant", "linear", "cosine");
  check_invalid({"experiment.reward_fn=beauty"}, "beauty", "aesthetic_score", "mean-red");
  check_invalid({"experiment.method=DRaFT"}, "did you mean 'DRaFT-1'", "Nabla-DB");
  check_invalid({"experiment.prompt_fn=simple_animal"}, "did you mean 'simple_animals'");
  check_invalid({"model.gradient=policy"}, "policy_fl", "lean_adjoint");
  check_invalid({"model.reverse_target=rao-blackwell"}, "did you mean 'rao_blackwell'");
  check_invalid({"model.time_weighting=w3"}, "w2", "uniform", "sigma");
  check_invalid({"model.reward_adaptive_mode=cubic"}, "squared");
  check_invalid({"model.pretrained_strength_mode=exactly"}, "did you mean 'exact'");
  check_invalid({"model.unet_reg_anchor=behavior"}, "did you mean 'behaviour'");
  check_invalid({"model.terminal_weighting=11"}, "official", "uniform");
  check_invalid({"compat.reverse_terminal_target=one"}, "kept", "zero");
  check_invalid({"compat.flow_out_init=default_wait"}, "did you mean 'default_weight'");
  check_invalid({"compat.terminal_gamma=alpha"}, "did you mean 'alpha_bar'");
  check_invalid({"compat.prompts=paintings"}, "did you mean 'paintings_only'");
  check_invalid({"sampling.scheduler=euler"}, "sde-dpm-solver++");
  check_invalid({"log.durability=hope"}, "pagecache");
  check_invalid({"http.bind=9464"}, "http.bind", "'9464'", "127.0.0.1:9464");
  check_invalid({"http.actor_bind=0.0.0.0:x"}, "http.actor_bind", "<address>:<port>");
  check_invalid({"eval.true_reward=taste"}, "lantern");
  check_invalid({"learner.device=gpu"}, "learner.device", "cuda");
  check_invalid({"learner.reference=pared"}, "did you mean 'paired'");
}

TEST_CASE("numbers outside their range are refused") {
  check_invalid({"training.batch_size=0"}, "training.batch_size");
  check_invalid({"training.batch_size=1e15"}, "1000000");
  check_invalid({"model.timestep_fraction=0"}, "model.timestep_fraction");
  check_invalid({"model.reward_scale=-1"}, "reward_sign=-1");
  check_invalid({"model.pretrained_strength=0"}, "above 0 and up to 1");
  check_invalid({"model.pretrained_strength=1.5"}, "above 0 and up to 1");
  check_invalid({"model.reward_grad_clip_percentile=100"}, "from 0 (off) to below 100");
  check_invalid({"model.unet_reg_ema_decay=1"}, "from 0 to below 1");
  check_invalid({"training.ema_decay=1"}, "from 0 (none) to below 1");
  check_invalid({"training.lion_beta2=1"}, "training.lion_beta2");
  check_invalid({"training.lr_warmup_steps=-1"}, "training.lr_warmup_steps");
  check_invalid({"training.lr_scheduler=linear", "training.lr_warmup_steps=200"}, "nothing is left", "training.updates is 200");
  check_invalid({"model.ddpo_clip_range=0"}, "model.ddpo_clip_range");
  check_invalid({"model.draft_lv_samples=0"}, "model.draft_lv_samples");
  check_invalid({"model.refl_last_fraction=0"}, "model.refl_last_fraction");
  check_invalid({"compat.adam_steps_per_grad=0"}, "compat.adam_steps_per_grad");
  check_invalid({"experiment.reward_sign=0"}, "1 or -1");
}

TEST_CASE("settings that could never train are refused with the reason") {
  check_invalid({"fleet.ticket_size=5"}, "fleet.ticket_size 5", "32 slots");
  check_invalid({"fleet.ticket_size=64"}, "does not divide");
  check_invalid({"fleet.publish_every=5"}, "could never issue a ticket");
  check_invalid({"fleet.lockstep=true", "fleet.publish_every=2", "fleet.lockstep_delay=2"}, "lag of up to 5");
  check_invalid({"fleet.lockstep_delay=1"}, "no meaning");
  check_invalid({"sampling.eta=0"}, "sampling.eta", "sigma 0");
  check_invalid({"sampling.scheduler=sde-dpm-solver++", "sampling.eta=0.5"}, "sampling.eta 1");
  check_invalid({"experiment.prompt_fn=file"}, "experiment.prompt_file");
  check_invalid({"experiment.prompt_file=a.txt"}, "prompt_fn=file");
}

TEST_CASE("options of the flow network are refused where there is none") {
  check_invalid({"model.no_flow=true"}, "model.reverse_loss_scale");
  const auto without_flow = [](const std::string& assignment) {
    return std::vector<std::string>{"model.no_flow=true", "model.reverse_loss_scale=0", assignment};
  };
  check_invalid(without_flow("compat.flow_from_forward_loss=true"), "flow_from_forward_loss");
  check_invalid(without_flow("compat.flow_out_init=default_weight"), "no flow network");
  check_invalid(without_flow("model.flow_prompt_conditioned=false"), "no flow network");
  check_invalid({"model.reverse_loss_scale=0", "model.reverse_target=rao_blackwell"}, "no reverse loss");
  check_invalid({"model.reverse_loss_scale=0", "compat.reverse_terminal_target=zero"}, "no reverse loss");
  check_invalid({"model.reverse_target=true_gradient", "compat.reverse_terminal_target=zero"}, "set it to kept");
}

TEST_CASE("the prior's exponent is exact for eta 1 only") {
  check_invalid({"model.pretrained_strength=0.5", "sampling.eta=0.5"}, "sampling.eta 1", "pretrained_strength_mode=official");
  check_consistent({"model.pretrained_strength=0.5"});
  check_consistent({"model.pretrained_strength=0.5", "sampling.eta=0.5", "model.pretrained_strength_mode=official"});
  check_invalid({"model.pretrained_strength=0.5", "experiment.method=Plain-Nabla-DB"}, "no such exponent");
}

TEST_CASE("lean adjoints cannot be recomputed, and take no gamma") {
  check_invalid({"model.gradient=lean_adjoint", "fleet.relabel_before_update=true"}, "every state");
  check_invalid({"model.gradient=lean_adjoint", "compat.x0hat_bf16=true"}, "compat.x0hat_bf16");
  check_invalid({"model.gradient=terminal", "compat.terminal_gamma=alpha_bar"}, "forward-looking gradients");
}

TEST_CASE("an anchor that nothing is held to is refused") {
  check_invalid({"model.unet_reg_scale=0", "model.unet_reg_anchor=ema"}, "nothing is held to it");
  check_consistent({"model.unet_reg_anchor=previous"});
}

TEST_CASE("other methods are refused with options of the residual form") {
  const auto refused = [](const std::string& method, const std::string& assignment, const auto&... parts) {
    check_invalid({"experiment.method=" + method, assignment}, method, parts...);
  };
  refused("ReFL", "compat.flow_out_init=default_weight", "no flow network");
  refused("DRaFT-1", "model.reverse_target=rao_blackwell", "no reverse loss");
  refused("DRaFT-LV", "model.gradient=terminal", "leave it at policy_fl");
  refused("DDPO", "model.reward_grad_clip_percentile=80", "no reward gradients");
  refused("DDPO", "fleet.relabel_before_update=true", "nothing to recompute");
  refused("Adjoint-Matching", "sampling.eta=0.5", "memoryless");
  refused("Plain-Nabla-DB", "sampling.eta=0.5", "backward kernel");
  refused("Plain-Nabla-DB", "model.no_flow=true", "model.no_flow=false");
  refused("ReFL", "model.terminal_weighting=uniform", "one transition");
  check_consistent({"experiment.method=Plain-Nabla-DB", "model.reverse_target=rao_blackwell"});
  check_invalid({"experiment.method=Adjoint-Matching", "fleet.relabel_before_update=true"}, "every state");
  for (const char* method : {"Plain-Nabla-DB", "ReFL", "DRaFT-1", "DRaFT-LV", "DDPO", "Adjoint-Matching"}) {
    check_consistent({std::string("experiment.method=") + method});
  }
}

TEST_CASE("what the official release got wrong in one prompt function belongs to that function") {
  check_invalid({"compat.prompts=paintings_only"}, "hpd_photo_painting");
}

TEST_CASE("ranks share whole tickets") {
  const auto check = [](const std::vector<std::string>& assignments) { require_tickets_of_one_rank(configured(assignments)); };
  check({"learner.ranks=2"});
  check({"learner.ranks=4", "fleet.ticket_size=8"});
  check_error(
      ExitCode::kUsage, [&] { check({"learner.ranks=4"}); }, "learner.ranks 4", "32 slots", "fleet.ticket_size is 16");
  check_error(
      ExitCode::kUsage,
      [&] {
        check({"learner.ranks=3", "fleet.ticket_size=1"});
      },
      "learner.ranks to a divisor of 32");
  check_invalid({"learner.ranks=33"}, "learner.ranks is 33", "1 to 32");
  check_invalid({"learner.collective_deadline=1"}, "learner.collective_deadline", "at least 3");
  check_invalid({"learner.late_deadline=20"}, "learner.late_deadline", "at least 30");
}

TEST_CASE("what later versions bring is refused instead of ignored") {
  check_invalid({"experiment.reward_fn=hpscore", "experiment.reward_model=folder"}, "does not have", "aesthetic_score");
  check_invalid({"experiment.reward_fn=imagereward", "experiment.reward_model=folder"}, "does not have", "aesthetic_score");
  validate(configured({"training.mixed_precision=bf16", "actors.device=cuda", "learner.device=cuda:1", "learner.reference=paired"}));
}

TEST_CASE("checkpoints that nobody could keep and a run that nobody could go on with are refused") {
  check_invalid({"checkpoint.every=-1"}, "checkpoint.every");
  check_invalid({"checkpoint.keep=0"}, "checkpoint.keep");
  check_invalid({"checkpoint.keep_every=-1"}, "checkpoint.keep_every");
  check_invalid({"learner.max_restarts=-1"}, "learner.max_restarts");
  check_invalid({"resume="}, "never, auto, latest");
}

TEST_CASE("the published algorithm's lockstep and no_flow without the reverse loss are valid") {
  validate(configured({"fleet.lockstep=true", "fleet.publish_every=2", "fleet.lockstep_delay=1"}));
  validate(configured({"fleet.lockstep=true", "fleet.max_policy_lag=0"}));
  validate(configured({"model.no_flow=true", "model.reverse_loss_scale=0"}));
}

TEST_CASE("a run's name stays in its folder") {
  validate(configured({"run.name=first try, beta 10"}));
  for (const char* name : {"", "..", "../x", "a/b"}) check_invalid({std::string("run.name=") + name}, "run.name");
}

TEST_CASE("an address to listen at has a host and a port") {
  for (const char* address : {"ipc", "tcp://127.0.0.1:*", "tcp://127.0.0.1:5555", "tcp://localhost:0", "tcp://[::1]:5555"}) {
    validate(configured({std::string("fleet.bind=") + address}));
  }
  check_invalid({"fleet.bind=tcp://127.0.0.1:99999"}, "99999");
  check_invalid({"fleet.bind=127.0.0.1"}, "tcp://<address>:<port>");
  check_invalid({"fleet.bind=tcp://127.0.0.1"}, "fleet.bind");
  validate(configured({"fleet.bind=tcp://127.0.0.1:5555", "fleet.weights_port=5556"}));
  check_invalid({"fleet.bind=tcp://127.0.0.1:5555", "fleet.weights_port=70000"}, "70000");
  check_invalid({"fleet.weights_port=5556"}, "ipc");
}

TEST_CASE("addresses that other machines can reach need keys, or a word on the command line") {
  for (const char* address : {"ipc", "tcp://127.0.0.1:*", "tcp://localhost:0", "tcp://[::1]:5555"})
    require_trust(configured({std::string("fleet.bind=") + address}), false);
  for (const char* address :
       {"tcp://0.0.0.0:5555", "tcp://192.0.2.7:5555", "tcp://*:5555", "tcp://[::]:5555", "tcp://learner.example:5555"}) {
    const std::string bind = std::string("fleet.bind=") + address;
    validate(configured({bind}));
    try {
      require_trust(configured({bind}), false);
      FAIL_CHECK("accepted: ", address);
    } catch (const Error& error) {
      CHECK((error.code() == ExitCode::kUsage));
      const std::string message = error.what();
      for (const char* part : {address, "nabla keys new", "--insecure", "security.keys"}) CHECK(message.find(part) != std::string::npos);
    }
    require_trust(configured({bind}), true);
    require_trust(configured({bind, "security.keys=keys"}), false);
  }
  CHECK_THROWS_AS(require_trust(configured({"security.keys=keys"}), true), Error);
}

TEST_CASE("no file can say insecure") { CHECK_THROWS_AS(configured({"security.insecure=true"}), Error); }

}  // namespace nabla
