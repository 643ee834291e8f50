#include "tests/fleet/run.h"
#include "tests/fleet/tiny_model.h"
#include "tests/testing.h"

#include <csignal>
#include <filesystem>

using namespace nabla;

namespace {

// `nabla relabel` over the reference run.
Outcome relabel(const Runs& runs, const std::string& name, const std::vector<std::string>& words) {
  std::vector<std::string> arguments{"relabel", reference_run().folder, "--out", runs.folder(name)};
  arguments.insert(arguments.end(), words.begin(), words.end());
  return run_nabla(arguments);
}

}  // namespace

TEST_CASE("a relabelled log has the same trajectories with the base model's tensors, and trains a configuration it was not sampled for") {
  const Runs runs;
  const Outcome outcome = relabel(runs, "new", {"sampling.guidance_scale=2", "experiment.reward_fn=lantern"});
  INFO(outcome.output);
  REQUIRE(outcome.exit == 0);
  CHECK(outcome.says("relabelled 40 trajectories"));
  CHECK_FALSE(exists(runs.folder("new.partial")));
  const LogContent log = read_log(runs.folder("new") + "/queue/rank-0"), source = read_log(reference_run().folder + "/queue/rank-0");
  REQUIRE(log.records.size() == source.records.size());
  CHECK(log.header.base_digest == source.header.base_digest);
  CHECK(log.header.relabelled_with == source.published.at(0).digest);  // version 0 is the base model
  for (std::size_t i = 0; i < log.records.size(); ++i) {
    CHECK(log.records[i].slot == static_cast<std::int64_t>(i));
    CHECK(log.records[i].digest == log.header.relabelled_with);
    CHECK(log.records[i].reward_spec.find("lantern") != std::string::npos);
  }
  // Nothing but the folder is named: the configuration it was relabelled for stands in it.
  const Outcome replayed = run_nabla({"replay", runs.folder("new"), "run.dir=" + runs.folder("trained")});
  INFO(replayed.output);
  CHECK(replayed.exit == 0);
  CHECK(summary_of(runs.folder("trained")).at("updates") == kUpdates);
  const auto ledger = summary_of(runs.folder("trained")).at("ledger");
  CHECK(ledger.at("issued") == kUpdates * kSlots);
  CHECK(ledger.at("trained") == kUpdates * kSlots);
  CHECK(ledger.at("outstanding") == 0);
  CHECK(ledger.at("residual") == 0);
  CHECK(run_nabla({"inspect", runs.folder("new")}).exit == 0);
}

TEST_CASE("a log is relabelled with a run's weights, a version of them, or a LoRA file") {
  const Runs runs;
  const std::string run = reference_run().folder;
  const auto weights_in = [&](const std::string& name) { return read_log(runs.folder(name) + "/queue/rank-0").header.relabelled_with; };
  CHECK(relabel(runs, "last/", {"--weights", run}).exit == 0);  // as a shell completes it
  CHECK_FALSE(exists(runs.folder("last/.partial")));
  CHECK(weights_in("last") == weights_of(run));
  CHECK(relabel(runs, "file", {"--weights", run + "/export/pytorch_lora_weights.safetensors"}).exit == 0);
  CHECK(weights_in("file") == weights_of(run));
  CHECK(relabel(runs, "three", {"--weights", run + "@3"}).exit == 0);
  CHECK(weights_in("three") == read_log(run + "/queue/rank-0").published.at(3).digest);
  CHECK(read_log(runs.folder("three") + "/queue/rank-0").records.front().version == 3);
}

TEST_CASE("what cannot be relabelled is refused, and leaves no folder") {
  const Runs runs;
  const auto check = [&](const std::vector<std::string>& words, ChildExit exit, const char* part) {
    const Outcome outcome = relabel(runs, "refused", words);
    INFO(outcome.output);
    CHECK(outcome.exit == exit);
    CHECK(outcome.says(part));
    CHECK_FALSE(exists(runs.folder("refused")));
    CHECK_FALSE(exists(runs.folder("refused.partial")));
  };
  check({"model.gradient=lean_adjoint"}, 2, "every state of a trajectory");
  check({"experiment.method=DDPO"}, 2, "sample anew");
  check({"model.timestep_fraction=0.25"}, 2, "other transitions");
  check({"sampling.scheduler=dpm-solver"}, 3, "step table");
  check({"--weights", "/no/such/file"}, 3, "neither a LoRA file nor a run folder");
  check({"--weights", reference_run().folder + "@99"}, 3, "no version 99");
  write_tiny_model(runs.folder("other"), 77);
  check({"pretrained.model=" + runs.folder("other")}, 3, "the log was sampled from base model");
}

TEST_CASE("a relabelled log is never written over, and a killed relabel leaves nothing under its name") {
  const Runs runs;
  const std::string out = runs.folder("killed");
  Process process(nabla_command({"relabel", reference_run().folder, "--out", out}));
  REQUIRE(wait_until([&] { return exists(out + ".partial/queue/rank-0/q-000000000000.seg") || exists(out); }, kRunDeadline));
  process.signal(SIGKILL);
  process.wait();
  if (!exists(out)) {
    const Outcome blocked = relabel(runs, "killed", {});
    CHECK(blocked.exit == 2);
    CHECK(blocked.says("was killed"));
    std::filesystem::remove_all(out + ".partial");
    CHECK(relabel(runs, "killed", {}).exit == 0);
  }
  const Outcome again = relabel(runs, "killed", {});
  CHECK(again.exit == 2);
  CHECK(again.says("is there already"));
}
