#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <algorithm>

using namespace nabla;

namespace {

struct MethodCase {
  const char* name;
  std::vector<std::string> settings;
  std::vector<std::string> tensors;  // of a record, beside x, y and eps_behaviour
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
  std::vector<std::string> expected{"eps_behaviour", "x", "y"}, found;
  expected.insert(expected.end(), method.tensors.begin(), method.tensors.end());
  std::sort(expected.begin(), expected.end());
  const LogContent log = read_log(run + "/queue/rank-0");
  for (const auto& entry : log.records.front().tensors) found.push_back(entry.name);
  CHECK(found == expected);
  for (const auto& update : metrics_of(run)) CHECK(update.at("grad_norm").get<double>() > 0.0);
  const Outcome replayed = run_nabla({"replay", run, "run.dir=" + runs.folder(std::string(method.name) + "-again")});
  INFO(replayed.output);
  CHECK(replayed.exit == 0);
  CHECK(replayed.says(weights_of(run)));
}

// Two small updates of the embedded model: the whole way from prompts to weights, with its own reward, checker and true reward.
void check_on_pocket(const Runs& runs, const std::string& method, const std::vector<std::string>& settings = {}, double passes = 1.0) {
  INFO(method);
  const std::string assets = NABLA_ASSETS "/pocket", run = runs.folder("pocket-" + method + std::to_string(settings.size()));
  std::vector<std::string> arguments{"train",
                                     "--config",
                                     "pocket",
                                     "experiment.method=" + method,
                                     "run.dir=" + run,
                                     "pretrained.model=" + assets,
                                     "experiment.reward_model=" + assets + "/reward",
                                     "eval.checker=" + assets + "/checker.safetensors",
                                     "sampling.num_steps=6",
                                     "training.updates=2",
                                     "training.batch_size=4",
                                     "fleet.ticket_size=2",
                                     "eval.every=0",
                                     "eval.prompts=1",
                                     "eval.seeds=2"};
  arguments.insert(arguments.end(), settings.begin(), settings.end());
  const Outcome outcome = run_nabla(arguments);
  INFO(outcome.output);
  REQUIRE(outcome.exit == 0);
  const auto summary = summary_of(run);
  CHECK(summary.at("updates") == 2);
  CHECK(summary.at("trajectories") == 8);
  CHECK(summary.at("ledger").at("residual") == 0);
  CHECK(summary.at("evaluation").back().at("drift") > 0.0);
  for (const auto* name : {"unet_forwards", "unet_backwards"}) CHECK(summary.at("learner_passes_per_transition").at(name) == passes);
  for (const auto& update : metrics_of(run)) CHECK(update.at("grad_norm").get<double>() > 0.0);
}

}  // namespace

TEST_CASE("every method trains the pocket model from end to end, one pass forward and one back a transition") {
  const Runs runs;
  check_on_pocket(runs, "Nabla-DB");
  check_on_pocket(runs, "Nabla-DB", {"model.no_flow=true", "model.reverse_loss_scale=0", "model.gradient=terminal"});
  check_on_pocket(runs, "Plain-Nabla-DB", {"model.reverse_target=rao_blackwell"});
  check_on_pocket(runs, "Adjoint-Matching");
  check_on_pocket(runs, "ReFL");
  check_on_pocket(runs, "DRaFT-1");
  check_on_pocket(runs, "DRaFT-LV", {}, 3.0);  // and one for each of the two noisings
  check_on_pocket(runs, "DDPO");
}

TEST_CASE("the baselines train on records of their own, and their logs replay to the same weights") {
  const Runs runs;
  check_method(runs, {"refl", {"experiment.method=ReFL"}, {"reward_grad_x0"}});
  check_method(runs, {"draft-1", {"experiment.method=DRaFT-1"}, {"reward_grad_y"}});
  check_method(runs, {"draft-lv", {"experiment.method=DRaFT-LV"}, {"renoised_reward_grad", "renoised_x"}});
  check_method(runs, {"ddpo", {"experiment.method=DDPO"}, {}});
  check_method(runs, {"adjoint", {"experiment.method=Adjoint-Matching"}, {"eps_reference", "reward_grad_y"}});
}

TEST_CASE("the detailed-balance forms train with every other target, weighting and anchor, and replay to the same weights") {
  const Runs runs;
  check_method(runs, {"plain", {"experiment.method=Plain-Nabla-DB"}, {"reverse_score_policy", "reward_grad_y"}});
  check_method(runs, {"rao-blackwell",
                      {"model.reverse_target=rao_blackwell", "model.time_weighting=sigma", "model.unet_reg_anchor=ema",
                       "model.reward_grad_clip_percentile=80", "model.pretrained_strength=0.5"},
                      {"eps_reference", "reverse_rao_blackwell", "reward_grad_x", "reward_grad_y"}});
  check_method(runs, {"true-gradient",
                      {"model.reverse_target=true_gradient", "model.unet_reg_anchor=previous", "model.terminal_weighting=uniform",
                       "model.gradient=lean_adjoint"},
                      {"eps_reference", "reverse_score_reference", "reward_grad_x", "reward_grad_y"}});
  check_method(runs, {"release",
                      {"compat.flow_from_forward_loss=true", "compat.adam_steps_per_grad=2", "compat.reverse_terminal_target=zero",
                       "compat.flow_out_init=default_weight", "compat.x0hat_bf16=true", "compat.terminal_gamma=alpha_bar",
                       "model.flow_prompt_conditioned=false"},
                      {"eps_reference", "reverse_score_policy", "reverse_score_reference", "reward_grad_x", "reward_grad_y"}});
}
