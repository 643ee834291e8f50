#include "common/json_file.h"
#include "launch/yaml_config.h"
#include "learner/foreign_replay.h"
#include "learner/publisher.h"
#include "learner/saved_trajectories.h"
#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <torch/types.h>

using namespace nabla;

namespace {

constexpr std::int64_t kForeignUpdates = 20;

class Silent : public RunObserver {
 public:
  void on_start(const RunFacts&) override {}
  void on_wait(const std::string&) override {}
  void on_update(const UpdateReport& report) override { drift = report.metrics.at("unet_l2_to_ref"); }
  void on_evaluation(const EvaluationSummary&) override {}
  double drift = 0;  // after the last update
};

// A run whose policy went far from its base, with records of the kinds that others may use; made once.
const std::string& old_run() {
  static const Runs runs;
  static const Outcome outcome = Process(runs.command("train", "old",
                                                      {"model.gradient=reference_fl", "model.reverse_target=true_gradient",
                                                       "training.lr=0.02", "model.reward_scale=1000"}))
                                     .wait();
  static const std::string folder = runs.folder("old");
  INFO(outcome.output);
  REQUIRE(outcome.exit == 0);
  return folder;
}

// That run's configuration with a reward that counts nothing, updates of two slots, and a foreign run's anchor.
std::vector<std::string> without_reward(const std::string& anchor, double scale) {
  return {"model.reward_scale=0",
          "model.unet_reg_anchor=" + anchor,
          "model.unet_reg_scale=" + std::to_string(scale),
          "training.lr=0.001",
          "training.gradient_accumulation_steps=1",
          "training.updates=" + std::to_string(kForeignUpdates),
          "run.dir="};
}

struct Pulled {
  double drift = 0;     // RMS(eps_theta - eps#) / RMS(eps#) after the last update
  double distance = 0;  // RMS(eps_theta - eps_behaviour) over the late records, relative to that of the base model
};

// Trains on the old run's records without asking whether they may be used; the last ones were sampled farthest from the base.
Pulled train_on_old_records(const std::vector<std::string>& settings) {
  const RunConfig config = load_config({.files = {old_run() + "/config.yaml"}, .assignments = settings});
  const TemporaryFolder folder;
  Silent observer;
  RunSession session(config, folder.path(), "run-1", observer);
  TrajectoryLogReader reader(old_run() + "/queue/rank-0");
  const auto header = reader.next();
  auto saved = read_trajectories(reader, session.record_rules(std::get<LogHeader>(*header).run_id));
  const std::vector<SharedRecord> late(saved.end() - 2, saved.end());
  std::vector<SharedRecord> repeated;
  for (std::int64_t update = 0; update < kForeignUpdates; ++update) repeated.insert(repeated.end(), late.begin(), late.end());
  PromptEncoder prompts(session.model().text_encoder);
  const auto distance = [&] {
    const at::NoGradGuard no_grad;
    const MicroBatch batch = collate(late, session.model().table, {record_needs_of(config), {}}, prompts, session.model().empty_prompt);
    const Tensor eps =
        session.model().policy->predict(WeightMode::kAdapter, batch.transitions.x, batch.transitions.timestep, batch.conditioning);
    return (eps - batch.transitions.eps_behaviour).square().mean().sqrt().item<double>();
  };
  const double before = distance();
  const LearnerResult result = replay_foreign(session, numbered_anew(repeated, 2), {});
  if (result.error) std::rethrow_exception(result.error);
  return {observer.drift, distance() / before};
}

}  // namespace

TEST_CASE("without a reward, foreign records leave the policy at its base") {
  const Runs runs;
  std::vector<std::string> arguments{"replay", old_run()};
  const auto settings = without_reward("previous", 2000);
  arguments.insert(arguments.end(), settings.begin(), settings.end() - 1);
  arguments.push_back("run.dir=" + runs.folder("control"));
  const Outcome outcome = run_nabla(arguments);
  INFO(outcome.output);
  REQUIRE(outcome.exit == 0);
  const auto updates = metrics_of(runs.folder("control"));
  REQUIRE(updates.size() == kForeignUpdates);
  const double drift = updates.back().at("unet_l2_to_ref").get<double>();
  MESSAGE("drift after ", kForeignUpdates, " updates: ", drift);
  CHECK(drift < 1e-2);
}

TEST_CASE("an anchor taken from foreign records would pull the policy to the run that made them") {
  const Pulled own = train_on_old_records(without_reward("previous", 2000)),
               copied = train_on_old_records(without_reward("behaviour", 2000));
  MESSAGE("previous: drift ", own.drift, ", distance ", own.distance, "; behaviour: drift ", copied.drift, ", distance ", copied.distance);
  CHECK(own.drift < 1e-2);
  CHECK(own.distance > 0.98);
  CHECK(copied.drift > 2e-2);
  CHECK(copied.distance < 0.9);
}

TEST_CASE("a configuration that would take the old run's policy from its records is refused before anything is trained") {
  const Runs runs;
  const auto refused = [&](const std::vector<std::string>& settings, const char* part) {
    std::vector<std::string> arguments{"replay", old_run(), "training.lr=0.001", "run.dir=" + runs.folder("refused")};
    arguments.insert(arguments.end(), settings.begin(), settings.end());
    const Outcome outcome = run_nabla(arguments);
    INFO(outcome.output);
    CHECK(outcome.exit == 2);
    CHECK(outcome.says("foreign"));
    CHECK(outcome.says("nabla relabel"));
    CHECK(outcome.says(part));
    CHECK(updates_done(runs.folder("refused")) == 0);
  };
  refused({}, "copy that run's policy");
  refused({"model.unet_reg_anchor=previous", "model.reverse_target=official"}, "reverse_score_policy");
  refused({"model.unet_reg_anchor=previous", "model.gradient=terminal"}, "of kind terminal");
  refused({"model.unet_reg_anchor=previous", "sampling.guidance_scale=4"}, "sampling.guidance_scale");
}
