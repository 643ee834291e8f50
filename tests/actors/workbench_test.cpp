#include "actors/workbench.h"
#include "tests/actors/tiny_model.h"
#include "tests/common/error_check.h"

using namespace nabla;

namespace {

void check_refusal(ExitCode code, const RunConfig& config, const std::string& value, const std::string& option) {
  check_error(
      code, [&] { make_workbench(config); }, value, option);
}

}  // namespace

TEST_CASE("a workbench holds frozen networks and the models that the configuration names") {
  const TinyModel model;
  const Workbench bench = make_workbench(model.config());
  CHECK(bench.base_digest == model.open().digest());
  CHECK(bench.table.transitions.size() == 10);
  CHECK(bench.latent_shape == std::vector<std::int64_t>{4, 8, 8});
  CHECK(bench.reward->spec().starts_with("lantern"));
  CHECK(bench.true_reward->spec().starts_with("mean-red"));
  CHECK_FALSE(bench.checker);
  for (torch::nn::Module* network :
       {static_cast<torch::nn::Module*>(bench.vae.get()), static_cast<torch::nn::Module*>(bench.text_encoder.get()),
        static_cast<torch::nn::Module*>(&bench.policy->unet())}) {
    CHECK_FALSE(network->is_training());
    for (const auto& parameter : network->parameters()) CHECK_FALSE(parameter.requires_grad());
  }
}

TEST_CASE("prompts are encoded one row each beside the empty prompt") {
  const TinyModel model;
  const Workbench bench = make_workbench(model.config());
  const EncodedPrompts both = encode_prompts(bench, {"a red star", ""}), one = encode_prompts(bench, {"a red star"});
  CHECK(both.token_ids.size() == 2);
  CHECK(both.token_ids[0] == bench.tokenizer->encode("a red star"));
  CHECK(both.conditioning.prompt_embeds.sizes() == at::IntArrayRef({2, 12, 6}));
  CHECK_FALSE(both.conditioning.prompt_embeds.requires_grad());
  CHECK(relative_error(both.conditioning.prompt_embeds[0], one.conditioning.prompt_embeds[0]) < 1e-5);
  CHECK(relative_error(both.conditioning.prompt_embeds[1], both.conditioning.negative_embeds[0]) < 1e-5);
}

TEST_CASE("a missing file is an error that names it and the option to change") {
  const TinyModel model;
  RunConfig config = model.config();
  config.pretrained.model = "/no/such/model";
  check_refusal(ExitCode::kData, config, "/no/such/model", "pretrained.model");
  config = model.config();
  config.experiment.reward_fn = "aesthetic_score";
  config.experiment.reward_model = "/no/such/reward";
  check_refusal(ExitCode::kData, config, "/no/such/reward", "experiment.reward_model");
  config = model.config();
  config.eval.checker = "/no/such/checker.safetensors";
  check_refusal(ExitCode::kData, config, "/no/such/checker.safetensors", "eval.checker");
}

TEST_CASE("a reward, sampler or device that is not there is refused") {
  const TinyModel model;
  RunConfig config = model.config();
  config.experiment.reward_fn = "lanterm";
  check_refusal(ExitCode::kUsage, config, "lanterm", "lantern");
  config = model.config();
  config.sampling.scheduler = "euler";
  check_refusal(ExitCode::kUsage, config, "euler", "sde-dpm-solver++");
  config = model.config();
  config.actors.device = "cuda:1";
  check_refusal(ExitCode::kUsage, config, "cuda:1", "actors.device");
}
