#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <csignal>
#include <filesystem>

using namespace nabla;

namespace {

constexpr const char* kRelabel = "fleet.relabel_before_update=true";

std::string train(const Runs& runs, const std::string& name, const std::vector<std::string>& settings) {
  const Outcome outcome = Process(runs.command("train", name, settings)).wait();
  INFO(outcome.output);
  REQUIRE(outcome.exit == 0);
  return runs.folder(name);
}

std::int64_t count_of(const LogContent& log, TicketKind kind) {
  return std::count_if(log.records.begin(), log.records.end(), [&](const RecordHeader& header) { return header.kind == kind; });
}

void check_replays(const std::string& run) {
  const Outcome outcome = run_nabla({"replay", run, "run.dir=" + run + "-replayed"});
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(weights_of(run + "-replayed") == weights_of(run));
}

}  // namespace

TEST_CASE("relabelled lockstep runs do not depend on how many actors there are, and replay to the same weights") {
  const Runs runs;
  const std::vector<std::string> settings{kRelabel, "fleet.publish_every=2", "fleet.lockstep_delay=1", "training.updates=6"};
  std::vector<std::string> folders;
  for (const auto* actors : {"1", "2", "4"}) {
    auto with_actors = settings;
    with_actors.push_back(std::string("actors.count=") + actors);
    folders.push_back(train(runs, std::string("actors-") + actors, with_actors));
  }
  for (const auto& folder : folders) {
    CHECK(weights_of(folder) == weights_of(folders.front()));
    const LogContent log = read_log(folder + "/queue/rank-0");
    CHECK(count_of(log, TicketKind::kSample) == 6 * kSlots);
    CHECK(count_of(log, TicketKind::kRelabel) == 6 * kSlots);
    for (const auto& header : log.records)
      CHECK(header.version ==
            (header.kind == TicketKind::kRelabel ? header.update : std::max<std::int64_t>(0, 2 * (header.update / 2 - 1))));
    CHECK(summary_of(folder).at("ledger").at("issued") == 6 * kSlots);
    CHECK(summary_of(folder).at("ledger").at("residual") == 0);
    CHECK(summary_of(folder).at("trajectories") == 6 * kSlots);
  }
  CHECK(actors_in(read_log(folders.back() + "/queue/rank-0")).size() > 1);
  check_replays(folders.back());
}

TEST_CASE("on policy, relabelling changes no bit") {
  const Runs runs;
  const std::string relabelled = train(runs, "relabelled", {kRelabel, "training.updates=5"});
  const LogContent log = read_log(reference_run().folder + "/queue/rank-0");
  const LogContent twice = read_log(relabelled + "/queue/rank-0");
  CHECK(weights_of(relabelled) == log.published.at(5).digest);
  CHECK(count_of(twice, TicketKind::kRelabel) == 5 * kSlots);
}

TEST_CASE("killing an actor of a run that relabels changes no bit of the weights") {
  const Runs runs;
  const std::vector<std::string> settings{kRelabel, "fleet.publish_every=2", "fleet.lockstep_delay=1"};
  const std::string undisturbed = train(runs, "undisturbed", settings), run = runs.folder("killed");
  Process process(runs.command("train", "killed", settings));
  REQUIRE(wait_until([&] { return updates_done(run) >= 2; }, kRunDeadline));
  for (const auto& child : children_of(process.pid())) {
    if (child.command_line.find("--id actor-1") != std::string::npos) REQUIRE(::kill(child.pid, SIGKILL) == 0);
  }
  const Outcome outcome = process.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(weights_of(run) == weights_of(undisturbed));
  CHECK(summary_of(run).at("ledger").at("residual") == 0);
}

TEST_CASE("a run without lockstep relabels too, and replays to the same weights") {
  const Runs runs;
  const std::string run = train(runs, "free", {kRelabel, "fleet.lockstep=false", "fleet.max_policy_lag=3"});
  for (const auto& header : read_log(run + "/queue/rank-0").records) {
    if (header.kind == TicketKind::kRelabel) CHECK(header.version == header.update);
  }
  check_replays(run);
}

TEST_CASE("the official preset's fleet and objective run as they stand") {
  const Runs runs;
  const std::string run = runs.folder("official");
  // The tiny model, reward and sizes come on top; everything else is the preset's.
  const Outcome outcome = run_nabla({"train",
                                     "--config",
                                     "official",
                                     "run.dir=" + run,
                                     "pretrained.model=" + tiny_model(),
                                     "experiment.reward_fn=mean-red",
                                     "experiment.prompt_fn=pocket",
                                     "sampling.num_steps=4",
                                     "sampling.guidance_scale=3",
                                     "model.lora_rank=2",
                                     "model.lora_alpha=2",
                                     "model.timestep_fraction=0.5",
                                     "model.flow_channel_width=[8, 16]",
                                     "training.batch_size=2",
                                     "training.gradient_accumulation_steps=2",
                                     "training.updates=4",
                                     "fleet.ticket_size=1",
                                     "eval.every=0",
                                     "eval.prompts=2",
                                     "eval.seeds=2"});
  INFO(outcome.output);
  REQUIRE(outcome.exit == 0);
  CHECK(summary_of(run).at("updates") == 4);
  CHECK(summary_of(run).at("policy_lag").at("max") == 3);
  CHECK(summary_of(run).at("ledger").at("residual") == 0);
  CHECK(count_of(read_log(run + "/queue/rank-0"), TicketKind::kRelabel) == 4 * kSlots);
  check_replays(run);
}
