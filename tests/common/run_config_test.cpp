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

TEST_CASE("unknown names are refused with the allowed ones") {
  check_invalid({"experiment.reward_fn=beauty"}, "beauty", "aesthetic_score", "mean-red");
  check_invalid({"experiment.method=DDPO"}, "Nabla-DB");
  check_invalid({"model.time_weighting=sigma"}, "w2", "uniform");
  check_invalid({"model.reward_adaptive_mode=cubic"}, "squared");
  check_invalid({"sampling.scheduler=euler"}, "sde-dpm-solver++");
  check_invalid({"log.durability=hope"}, "pagecache");
  check_invalid({"eval.true_reward=taste"}, "lantern");
  check_invalid({"learner.device=gpu"}, "learner.device", "cuda");
}

TEST_CASE("settings that could never train are refused with the reason") {
  check_invalid({"fleet.ticket_size=5"}, "fleet.ticket_size 5", "32 slots");
  check_invalid({"fleet.ticket_size=64"}, "does not divide");
  check_invalid({"fleet.publish_every=5"}, "could never issue a ticket");
  check_invalid({"fleet.lockstep=true", "fleet.publish_every=2", "fleet.lockstep_delay=2"}, "lag of up to 5");
  check_invalid({"fleet.lockstep_delay=1"}, "no meaning");
  check_invalid({"sampling.eta=0"}, "sampling.eta", "sigma 0");
  check_invalid({"sampling.scheduler=sde-dpm-solver++", "sampling.eta=0.5"}, "sampling.eta 1");
  check_invalid({"model.no_flow=true"}, "model.reverse_loss_scale");
  check_invalid({"model.no_flow=true", "model.reverse_loss_scale=0", "compat.flow_from_forward_loss=true"}, "flow_from_forward_loss");
  check_invalid({"model.pretrained_strength=0.5"}, "sampling.eta 1");
  check_invalid({"experiment.reward_sign=0"}, "1 or -1");
  check_invalid({"model.reward_scale=-1"}, "reward_sign=-1");
  check_invalid({"experiment.prompt_fn=file"}, "experiment.prompt_file");
  check_invalid({"experiment.prompt_file=a.txt"}, "prompt_fn=file");
  check_invalid({"training.batch_size=0"}, "training.batch_size");
  check_invalid({"training.batch_size=1e15"}, "1000000");
  check_invalid({"model.timestep_fraction=0"}, "model.timestep_fraction");
}

TEST_CASE("what later versions bring is refused instead of ignored") {
  check_invalid({"learner.ranks=2"}, "one rank");
  check_invalid({"checkpoint.every=10"}, "nabla replay");
  check_invalid({"resume=auto"}, "nabla replay");
  check_invalid({"model.gradient=lean_adjoint"}, "does not have");
  check_invalid({"training.mixed_precision=bf16"}, "float32");
  check_invalid({"learner.reference=paired"}, "attached");
}

TEST_CASE("the published algorithm's lockstep and no_flow without the reverse loss are valid") {
  validate(configured({"fleet.lockstep=true", "fleet.publish_every=2", "fleet.lockstep_delay=1"}));
  validate(configured({"fleet.lockstep=true", "fleet.max_policy_lag=0"}));
  validate(configured({"model.no_flow=true", "model.reverse_loss_scale=0"}));
}

TEST_CASE("only loopback addresses are bound") {
  for (const char* address : {"ipc", "tcp://127.0.0.1:*", "tcp://127.0.0.1:5555", "tcp://localhost:0", "tcp://[::1]:5555"}) {
    validate(configured({std::string("fleet.bind=") + address}));
  }
  check_invalid({"fleet.bind=tcp://0.0.0.0:5555"}, "tunnel");
  check_invalid({"fleet.bind=tcp://127.0.0.1:99999"}, "99999");
  check_invalid({"fleet.bind=127.0.0.1"}, "tcp://<address>:<port>");
  check_invalid({"fleet.bind=tcp://127.0.0.1"}, "fleet.bind");
}

}  // namespace nabla
