#include "common/json_file.h"
#include "protocol/fleet_client.h"
#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>

using namespace nabla;

namespace {

// The same record as another machine might compute it: one element differs in its last bit.
EncodedRecord almost_equal(const EncodedRecord& encoded) {
  DecodeResult decoded = decode_record(encoded, {});
  REQUIRE(decoded.reject == Reject::kNone);
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, TensorSource> tensors;
  for (const auto& entry : decoded.record.header.tensors) {
    auto& copy = values[entry.name];
    copy.resize(entry.size / sizeof(float));
    std::memcpy(copy.data(), decoded.record.bytes(entry).data(), entry.size);
    tensors[entry.name] = {entry.dtype, entry.shape, std::as_bytes(std::span(copy))};
  }
  float& element = values.at("reward_grad_y").front();
  element = std::nextafter(element, 1.0F);
  decoded.record.header.actor_id = "other";
  return encode_record(decoded.record.header, pack_tensors(tensors));
}

}  // namespace

TEST_CASE("two different records of one slot stop a lockstep run") {
  const Runs runs;
  const std::string run = runs.folder("run"), log_folder = run + "/queue/rank-0";
  Process learner(runs.command("learner", "run", {kEndless}));
  {
    Process actor(actor_command(run, "honest"));
    REQUIRE(wait_until([&] { return updates_done(run) >= 1; }, kRunDeadline));
    actor.signal(SIGTERM);
    CHECK(actor.wait().exit == 0);
  }
  const LogContent log = read_log(log_folder);
  const RecordHeader& newest = log.records.back();
  std::stop_source stop;
  FleetClient client({.control_endpoint = read_json(run + "/endpoints.json").at("control").get<std::string>(), .actor_id = "other"},
                     stop.get_token());
  Hello hello;
  hello.actor_id = "other";
  hello.pid = getpid();
  client.connect(hello);
  CHECK(client.send_record(log.encoded.back(), newest.ticket_id, newest.slot).reject == Reject::kDuplicate);
  CHECK(client.send_record(almost_equal(log.encoded.back()), newest.ticket_id, newest.slot).reject == Reject::kNondeterministicActor);
  const Outcome outcome = learner.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 1);
  CHECK(outcome.says("nondeterministic_actor: other sent other bytes for slot " + std::to_string(newest.slot)));
  CHECK(read_log(log_folder).records.size() == log.records.size());
}

TEST_CASE("a learner that is killed and may not start again takes its actors along and leaves a log that holds all it had acknowledged") {
  const Runs runs;
  const std::string run = runs.folder("run");
  Process train(runs.command("train", "run", {kEndless, "learner.max_restarts=0"}));
  REQUIRE(wait_until([&] { return updates_done(run) >= 2; }, kRunDeadline));
  const auto children = children_of(train.pid());
  const auto learner = std::find_if(children.begin(), children.end(),
                                    [](const auto& child) { return child.command_line.find(" learner ") != std::string::npos; });
  REQUIRE(learner != children.end());
  REQUIRE(::kill(learner->pid, SIGKILL) == 0);
  const Outcome outcome = train.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 128 + SIGKILL);
  CHECK(outcome.says("the learner was ended by signal 9"));
  for (const auto& child : children) CHECK_FALSE(is_alive(child.pid));

  const std::int64_t updates = updates_done(run);
  const Outcome replayed = run_nabla({"replay", run, "run.dir=" + runs.folder("replayed")});
  INFO(replayed.output);
  CHECK(replayed.exit == 0);
  CHECK(summary_of(runs.folder("replayed")).at("updates") >= updates);
}

TEST_CASE("a learner whose only actor hangs while it loads gives up and says who it is and where it stands") {
  const Runs runs;
  const std::string run = runs.folder("run"), model = runs.folder("model");
  std::filesystem::copy(tiny_model(), model, std::filesystem::copy_options::recursive);
  const std::string weights = model + "/vae/diffusion_pytorch_model.safetensors";
  std::filesystem::remove(weights);
  REQUIRE(::mkfifo(weights.c_str(), 0600) == 0);  // whoever opens it waits for a writer
  Process learner(runs.command("learner", "run", {"fleet.actor_deadline=6", "fleet.ticket_timeout=5"}));
  Process actor(actor_command(run, "stuck", {"pretrained.model=" + model}));
  const Outcome outcome = learner.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 4);
  CHECK(outcome.says("no actor has done anything for 6 s (fleet.actor_deadline); stuck (process " + std::to_string(actor.pid()) + " on "));
  CHECK(outcome.says("): loading for "));
  CHECK(summary_of(run).at("ledger").at("residual") == 0);
}

TEST_CASE("a learner whom no actor joins gives up and says whom it waited for") {
  const Runs runs;
  const std::string run = runs.folder("run");
  const Outcome outcome = Process(runs.command("train", "run", {"actors.count=0", "fleet.actor_deadline=2"})).wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 4);
  CHECK(outcome.says("no actor was connected for 2 s"));
  CHECK(outcome.says("nabla actor --connect " + run));
  const auto summary = summary_of(run);
  CHECK(summary.at("exit_reason").get<std::string>().starts_with("failed: "));
  CHECK(summary.at("actors_seen") == 0);
}
