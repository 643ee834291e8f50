#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <cmath>

using namespace nabla;

namespace {

std::string train(const Runs& runs, const std::string& name, std::vector<std::string> settings) {
  settings.emplace_back("training.updates=3");
  const Outcome trained = Process(runs.command("train", name, settings)).wait();
  INFO(trained.output);
  REQUIRE(trained.exit == 0);
  return runs.folder(name);
}

}  // namespace

TEST_CASE("a fleet trains with bfloat16 networks, records stay float32 and a replay repeats the weights") {
  const Runs runs;
  const std::string run = train(runs, "bf16", {"training.mixed_precision=bf16", "fleet.lockstep=true", "fleet.max_policy_lag=0"});
  for (const auto& record : read_log(run + "/queue/rank-0").records) {
    for (const auto& entry : record.tensors) CHECK((entry.dtype == DType::kF32));
  }
  for (const auto& update : metrics_of(run)) {
    CHECK(std::isfinite(update.at("loss").get<double>()));
    CHECK(update.at("grad_norm").get<double>() > 0.0);
    CHECK(update.at("reference_noise").get<double>() >= 0.0);
  }
  const Outcome replayed = run_nabla({"replay", run, "run.dir=" + runs.folder("bf16-again")});
  INFO(replayed.output);
  CHECK(replayed.exit == 0);
  CHECK(replayed.says(weights_of(run)));
}

TEST_CASE("paired references cost a forward pass a transition") {
  const Runs runs;
  const std::string run = train(runs, "paired", {"learner.reference=paired"});
  const auto passes = summary_of(run).at("learner_passes_per_transition");
  CHECK(passes.at("unet_forwards") == 2.0);
  CHECK(passes.at("unet_backwards") == 1.0);
}

TEST_CASE("recomputed activations train as kept ones do, up to the order of sums") {
  const Runs runs;
  const std::vector<std::string> lockstep{"fleet.lockstep=true", "fleet.max_policy_lag=0"};
  std::vector<std::string> recomputed = lockstep;
  recomputed.insert(recomputed.end(), {"learner.activation_checkpointing=true", "actors.activation_checkpointing=true"});
  const auto ours = metrics_of(train(runs, "recomputed", recomputed)), plain = metrics_of(train(runs, "kept", lockstep));
  REQUIRE(ours.size() == plain.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    for (const char* name : {"loss", "grad_norm", "reward_mean"})
      CHECK(ours[i].at(name).get<double>() == doctest::Approx(plain[i].at(name).get<double>()).epsilon(1e-3));
  }
}

TEST_CASE("a device that is not there is refused before anything starts") {
  const Runs runs;
  for (const std::string option : {"actors.device", "learner.device"}) {
    const Outcome refused = Process(runs.command("train", "nowhere", {option + "=cuda:99"})).wait();
    INFO(refused.output);
    CHECK(refused.exit == 2);
    CHECK(refused.says(option));
    CHECK_FALSE(exists(runs.folder("nowhere")));
  }
}
