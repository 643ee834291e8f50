#include "launch/presets.h"
#include "common/files.h"
#include "launch/yaml_config.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

#include <filesystem>
#include <set>

using namespace nabla;

namespace {

RunConfig preset_config(const std::vector<std::string>& names, const std::vector<std::string>& assignments = {}) {
  return load_config({.files = names, .assignments = assignments});
}

}  // namespace

TEST_CASE("every file of configs/ is a preset with a summary, and no preset is missing") {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(NABLA_CONFIGS)) {
    const Preset* preset = find_preset(entry.path().filename().string());
    INFO(entry.path().filename().string());
    REQUIRE(preset != nullptr);
    CHECK(read_file(entry.path().string(), 1 << 20) == preset->yaml);
    CHECK_FALSE(preset_summary(*preset).empty());
    names.insert(preset->name);
  }
  CHECK(names.size() == presets().size());
}

TEST_CASE("every preset that is complete has no contradictions") {
  for (const char* name :
       {"official", "aesthetic", "hpsv2", "imagereward", "fast", "fewer-gpus", "no-flow", "dpm-solver", "pocket", "tiny-cpu"}) {
    INFO(name);
    require_consistent(preset_config({name}));
  }
}

TEST_CASE("this version runs every preset but those whose reward it lacks") {
  for (const char* name : {"official", "aesthetic", "fast", "fewer-gpus", "no-flow", "dpm-solver", "pocket", "tiny-cpu"}) {
    INFO(name);
    validate(preset_config({name}));
  }
  check_error(
      ExitCode::kUsage, [] { validate(preset_config({"hpsv2"})); }, "experiment.reward_fn hpscore");
  check_error(
      ExitCode::kUsage, [] { validate(preset_config({"imagereward"})); }, "experiment.reward_fn imagereward");
}

TEST_CASE("a preset builds on presets, whatever lies in the working folder") {
  const TemporaryFolder folder;
  write_file(folder.file("aesthetic.yaml"), "seed: 99\n");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  const RunConfig config = preset_config({"fast"});
  std::filesystem::current_path(before);
  CHECK(config.seed != 99);
  CHECK(config.model.reward_scale == 1e4);
}

TEST_CASE("the compat layer goes on top of configurations with flow and reverse loss") {
  for (const char* name : {"fast", "fewer-gpus"}) {
    INFO(name);
    require_consistent(preset_config({name, "compat-official"}, {"fleet.publish_every=1"}));
  }
  check_error(
      ExitCode::kUsage, [] { require_consistent(preset_config({"no-flow", "compat-official"})); }, "needs the flow network");

  const RunConfig config = preset_config({"pocket", "compat-official"});
  require_consistent(config);
  CHECK(config.pretrained.model == "assets/pocket");
  CHECK(config.compat.adam_steps_per_grad == 2);
}

TEST_CASE("every method goes with the pocket job") {
  for (const char* method : {"Plain-Nabla-DB", "ReFL", "DRaFT-1", "DRaFT-LV", "DDPO", "Adjoint-Matching"}) {
    INFO(method);
    require_consistent(preset_config({"pocket"}, {std::string("experiment.method=") + method}));
  }
}

TEST_CASE("presets say what the commands of the official README say") {
  const RunConfig paper = preset_config({"aesthetic"});
  CHECK(paper.model.reward_scale == 1e4);
  CHECK(paper.model.unet_reg_scale == 2e3);
  CHECK(paper.sampling.low_var_subsampling);
  CHECK(paper.slots_per_update() == 32);
  CHECK(paper.training.updates == 200);
  const RunConfig fast = preset_config({"fast"});
  CHECK(fast.slots_per_update() == 4);
  CHECK(fast.fleet.ticket_size == 4);
  CHECK(fast.training.updates == 400);
  CHECK(fast.model.reward_scale == 1e4);
  const RunConfig no_flow = preset_config({"no-flow"});
  CHECK(no_flow.slots_per_update() == 16);
  CHECK(no_flow.model.no_flow);
  CHECK(no_flow.model.reverse_loss_scale == 0);
  const RunConfig hps = preset_config({"hpsv2"});
  CHECK(hps.model.unet_reg_scale == 1e2);
  CHECK(hps.training.gradient_accumulation_steps == 16);
  CHECK(hps.experiment.prompt_fn == "hpd_photo_painting");
  CHECK(hps.model.reward_scale == 1e4);
  CHECK(hps.slots_per_update() == 32);
  CHECK(no_flow.training.updates == 400);
  const RunConfig two = preset_config({"fewer-gpus"});
  CHECK(two.slots_per_update() == 16);
  CHECK(two.training.updates == 400);
  CHECK(two.model.reverse_loss_scale == 1);
  const RunConfig image_reward = preset_config({"imagereward"});
  CHECK(image_reward.model.reward_scale == 1e3);
  CHECK(image_reward.model.unet_reg_scale == 1e3);
  CHECK(image_reward.experiment.prompt_fn == "drawbench");
  const RunConfig solver = preset_config({"dpm-solver"});
  CHECK(solver.sampling.scheduler == "sde-dpm-solver++");
  CHECK(solver.sampling.num_steps == 20);
  CHECK(solver.model.timestep_fraction == 0.4);
}

TEST_CASE("official turns on every switch of compat that its prompts allow, and one epoch's lag") {
  const RunConfig config = preset_config({"official"});
  CHECK(config.compat.adam_steps_per_grad == 2);
  CHECK(config.compat.flow_from_forward_loss);
  CHECK(config.compat.reverse_terminal_target == "zero");
  CHECK(config.compat.flow_out_init == "default_weight");
  CHECK(config.compat.x0hat_bf16);
  CHECK(config.compat.terminal_gamma == "alpha_bar");
  CHECK(config.fleet.lockstep);
  CHECK(config.fleet.publish_every == 2);
  CHECK(config.fleet.lockstep_delay == 1);
  CHECK(config.fleet.relabel_before_update);
  RunConfig copy = config;
  const auto fields = fields_of(copy);
  for (const Field& field : fields) {
    INFO(field.path);
    if (field.path.starts_with("compat.") && field.path != "compat.prompts") CHECK(field.get() != field.default_text);
  }
}

TEST_CASE("a later preset wins, a file by the preset's name before it, and assignments at last") {
  CHECK(preset_config({"pocket", "compat-official"}).fleet.max_policy_lag == 3);
  const RunConfig official_hps = preset_config({"official", "hpsv2"}, {"compat.prompts=paintings_only"});
  require_consistent(official_hps);
  CHECK(official_hps.compat.adam_steps_per_grad == 2);
  CHECK(official_hps.model.unet_reg_scale == 1e2);
  CHECK(preset_config({"hpsv2", "fast"}).experiment.reward_fn == "aesthetic_score");
  CHECK(preset_config({"fast"}, {"training.batch_size=32"}).slots_per_update() == 32);
  const TemporaryFolder folder;
  write_file(folder.file("own.yaml"), "defaults: [pocket]\nseed: 7\n");
  CHECK(preset_config({folder.file("own.yaml")}).experiment.prompt_fn == "pocket");
  CHECK(preset_config({folder.file("own.yaml")}).training.updates == 80);
}

TEST_CASE("a name that is neither file nor preset is answered with the nearest preset") {
  check_error(
      ExitCode::kUsage, [] { preset_config({"oficial"}); }, "oficial", "did you mean 'official'", "no-flow");
  const TemporaryFolder folder;
  write_file(folder.file("own.yaml"), "defaults: [nothing.yaml]\n");
  check_error(
      ExitCode::kUsage, [&] { preset_config({folder.file("own.yaml")}); }, "own.yaml:1:", "nothing.yaml");
}

TEST_CASE("keys that only the official release has are answered with what to set instead") {
  check_error(
      ExitCode::kUsage, [] { preset_config({}, {"--config.training.num_epochs=400"}); }, "training.num_epochs", "training.updates");
  check_error(
      ExitCode::kUsage, [] { parse_config_text("logging:\n  wandb_key: x\n", "run.yaml", {}); }, "run.yaml:2:3", "logging.wandb_key",
      "no key belongs in a configuration");
}

TEST_CASE("the official command line's seed and experiment name are taken") {
  const RunConfig config = preset_config({"aesthetic"}, {"--seed=3", "--exp_name=mine"});
  CHECK(config.seed == 3);
  CHECK(config.run.name == "mine");
}
