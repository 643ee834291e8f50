#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <algorithm>

using namespace nabla;

namespace {

struct MethodCase {
  const char* name;
  std::vector<std::string> settings;
  std::vector<std::string> tensors;  // of a record, beside x, y, eps_behaviour and eps_reference
};

// Trains three updates and replays them; the records hold what the method needs.
void check_method(const Runs& runs, const MethodCase& method) {
  INFO(method.name);
  std::vector<std::string> settings{"training.updates=3"};
  settings.insert(settings.end(), method.settings.begin(), method.settings.end());
  const Outcome trained = Process(runs.command("train", method.name, settings)).wait();
  INFO(trained.output);
  REQUIRE(trained.exit == 0);
  const std::string run = runs.folder(method.name);
  std::vector<std::string> expected{"eps_behaviour", "eps_reference", "x", "y"}, found;
  expected.insert(expected.end(), method.tensors.begin(), method.tensors.end());
  std::sort(expected.begin(), expected.end());
  for (const auto& entry : read_log(run + "/queue/rank-0").records.front().tensors) found.push_back(entry.name);
  CHECK(found == expected);
  for (const auto& update : metrics_of(run)) CHECK(update.at("grad_norm").get<double>() > 0.0);
  const Outcome replayed = run_nabla({"replay", run, "run.dir=" + runs.folder(std::string(method.name) + "-again")});
  INFO(replayed.output);
  CHECK(replayed.exit == 0);
  CHECK(replayed.says(weights_of(run)));
}

}  // namespace

TEST_CASE("the baselines train on records of their own, and their logs replay to the same weights") {
  const Runs runs;
  const std::string w2 = "model.time_weighting=w2";
  check_method(runs, {"refl", {"experiment.method=ReFL", w2}, {"reward_grad_x0"}});
  check_method(runs, {"draft-1", {"experiment.method=DRaFT-1", w2}, {"reward_grad_y"}});
  check_method(runs, {"draft-lv", {"experiment.method=DRaFT-LV", w2}, {"renoised_reward_grad", "renoised_x"}});
  check_method(runs, {"ddpo", {"experiment.method=DDPO", w2}, {}});
  check_method(runs, {"adjoint", {"experiment.method=Adjoint-Matching"}, {"reward_grad_y"}});
}

TEST_CASE("the detailed-balance forms train with every other target, weighting and anchor, and replay to the same weights") {
  const Runs runs;
  check_method(runs, {"plain", {"experiment.method=Plain-Nabla-DB"}, {"reverse_score_policy", "reward_grad_y"}});
  check_method(runs, {"rao-blackwell",
                      {"model.reverse_target=rao_blackwell", "model.time_weighting=sigma", "model.unet_reg_anchor=ema",
                       "model.reward_grad_clip_percentile=80", "model.pretrained_strength=0.5"},
                      {"reverse_rao_blackwell", "reward_grad_x", "reward_grad_y"}});
  check_method(runs, {"true-gradient",
                      {"model.reverse_target=true_gradient", "model.unet_reg_anchor=previous", "model.terminal_weighting=uniform",
                       "model.gradient=lean_adjoint"},
                      {"reverse_score_reference", "reward_grad_x", "reward_grad_y"}});
  check_method(runs, {"release",
                      {"compat.flow_from_forward_loss=true", "compat.adam_steps_per_grad=2", "compat.reverse_terminal_target=zero",
                       "compat.flow_out_init=default_weight", "compat.x0hat_bf16=true", "compat.terminal_gamma=alpha_bar",
                       "model.flow_prompt_conditioned=false"},
                      {"reverse_score_policy", "reverse_score_reference", "reward_grad_x", "reward_grad_y"}});
}
