#include "learner/checkpoint/checkpoint.h"

#include "common/files.h"
#include "learner/checkpoint/checkpoint_choice.h"
#include "learner/checkpoint/checkpoint_writer.h"
#include "learner/checkpoint/named_tensors.h"
#include "learner/publisher.h"
#include "learner/update_step.h"
#include "tests/common/error_check.h"
#include "tests/common/small_disk.h"
#include "tests/common/temporary_folder.h"
#include "tests/learner/tiny_model.h"

#include <filesystem>
#include <fstream>

using namespace nabla;
using namespace nabla::testing;

namespace {

namespace fs = std::filesystem;

const std::stop_token kNeverStop;
const std::vector<std::int64_t> kSlots{0, 1, 2, 3};

EvaluationSummary sample_evaluation(std::int64_t update, double reward) {
  EvaluationSummary evaluation;
  evaluation.update = update;
  evaluation.reward_mean = reward;
  evaluation.reward_std = 0.1;
  evaluation.has_true_reward = true;
  evaluation.true_reward_mean = 1.0 / 3.0;
  evaluation.drift = 1e-7;
  evaluation.prompts = {"a \"red\" star", "ein Stern mit ümlaut"};
  evaluation.rewards = {0.1, 0.7};
  evaluation.height = 2;
  evaluation.width = 3;
  for (int i = 0; i < 2; ++i) evaluation.images.emplace_back(18, static_cast<std::uint8_t>(40 * i + 7));
  return evaluation;
}

// A checkpoint with something in each of its fields.
Checkpoint sample_checkpoint() {
  const TinyModelFolder folder;
  TinyLearner learner(tiny_config(folder));
  UpdateStep step(learner.config, learner.model);
  REQUIRE(step.train(learner.update_of(kSlots), kNeverStop));
  Checkpoint checkpoint;
  checkpoint.run_id = "run-1";
  checkpoint.weights_contract = "contract";
  checkpoint.base_digest = learner.model.base_digest;
  checkpoint.weights_digest = learner.model.policy->digest();
  checkpoint.config_text = "seed: 7\n";
  checkpoint.next_update = 6;
  checkpoint.training = step.state();
  Publisher publisher(learner.model);
  for (const std::int64_t version : {5, 6}) checkpoint.snapshots.push_back(publisher.publish(version).snapshot);
  checkpoint.pending_evaluations = {{6, 0.25}};
  RunSummary& summary = checkpoint.so_far;
  summary.trajectories = 23;
  summary.unique_transitions = 69;
  summary.wall_s = 12.1;
  summary.policy_lag_max = 3;
  summary.stage_seconds = {{"learner", 0.1}, {"sampling", 7.0}};
  summary.counters = {{"duplicates", 2}};
  summary.peak_rss_bytes = {{"learner", std::uint64_t{5} << 32}};
  summary.ledger.discarded = {{"attempts", 1}};
  summary.evaluation = {sample_evaluation(0, 0.5), sample_evaluation(4, 0.75)};
  checkpoint.lag_sum = 17;
  checkpoint.actors["actor-1"] = {"host", 12, {{"sampling", 7.0}}, {{"unet_forwards", 8}}};
  return checkpoint;
}

const Checkpoint& the_sample() {
  static const Checkpoint sample = sample_checkpoint();
  return sample;
}

std::string write_sample(const std::string& folder) {
  write_checkpoint_folder(folder, the_sample().next_update, files_of(the_sample()));
  return folder + "/update-000006";
}

void check_equal(const TensorMap& a, const TensorMap& b) {
  REQUIRE(a.size() == b.size());
  for (const auto& [name, tensor] : a) {
    INFO(name);
    REQUIRE(b.contains(name));
    CHECK(tensor.equal(b.at(name)));
  }
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

void flip_a_byte(const std::string& path, std::streamoff place) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(place);
  const char byte = static_cast<char>(file.get() ^ 0x01);
  file.seekp(place);
  file.put(byte);
}

}  // namespace

TEST_CASE("an update after a checkpoint is the update of the run that went straight on, bit by bit") {
  const TinyModelFolder folder;
  const std::vector<std::pair<std::string, std::string>> settings{{"behaviour", "adamw"}, {"previous", "lion"}, {"ema", "adamw"}};
  for (const auto& [anchor, optimizer] : settings) {
    INFO(anchor, " ", optimizer);
    RunConfig config = tiny_config(folder);
    config.model.unet_reg_anchor = anchor;
    config.training.optimizer = optimizer;
    config.training.ema_decay = 0.5;
    TinyLearner straight(config), resumed(config);
    UpdateStep step(config, straight.model), restored(config, resumed.model);
    const UpdateRecords records = straight.update_of(kSlots);
    for (int i = 0; i < 3; ++i) REQUIRE(step.train(records, kNeverStop));
    const TemporaryFolder files;
    save_tensors(files.file("state.safetensors"), step.state());
    restored.load_state(load_tensors(files.file("state.safetensors")));
    check_equal(step.state(), restored.state());
    REQUIRE(step.train(records, kNeverStop));
    REQUIRE(restored.train(records, kNeverStop));
    check_equal(step.state(), restored.state());
    CHECK(straight.model.policy->digest() == resumed.model.policy->digest());
  }
}

TEST_CASE("the state is a copy: training on changes nothing of it") {
  const TinyModelFolder folder;
  TinyLearner learner(tiny_config(folder));
  UpdateStep step(learner.config, learner.model);
  REQUIRE(step.train(learner.update_of(kSlots), kNeverStop));
  const TensorMap state = step.state(), before = copies_of(state);
  REQUIRE(step.train(learner.update_of(kSlots), kNeverStop));
  check_equal(state, before);
  CHECK_FALSE(step.state().at("lora_optimizer.steps").equal(before.at("lora_optimizer.steps")));
}

TEST_CASE("a state of another shape is refused with the tensor's name") {
  const TinyModelFolder folder;
  TinyLearner learner(tiny_config(folder));
  UpdateStep step(learner.config, learner.model);
  const TensorMap good = step.state();
  TensorMap missing = good, extra = good, other = good;
  const std::string name = with_prefix(good, "lora.").begin()->first;
  missing.erase("lora." + name);
  extra["flow.nothing"] = at::zeros({1});
  other["lora." + name] = at::zeros({1, 1});
  for (const auto& [state, part] : {std::pair{missing, name}, std::pair{extra, std::string("nothing")}, std::pair{other, name}})
    check_error(
        ExitCode::kData, [&] { step.load_state(state); }, "[checkpoint]", part);
}

TEST_CASE("everything in a checkpoint comes back from its folder") {
  const TemporaryFolder folder;
  const Checkpoint& written = the_sample();
  const Checkpoint read = load_checkpoint(write_sample(folder.path()));
  CHECK(read.run_id == written.run_id);
  CHECK(read.weights_contract == written.weights_contract);
  CHECK(read.base_digest == written.base_digest);
  CHECK(read.weights_digest == written.weights_digest);
  CHECK(read.config_text == written.config_text);
  CHECK(read.next_update == 6);
  check_equal(read.training, written.training);
  REQUIRE(read.snapshots.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(read.snapshots[i].version == written.snapshots[i].version);
    CHECK(read.snapshots[i].digest == written.snapshots[i].digest);
    CHECK(read.snapshots[i].data_crc32c == written.snapshots[i].data_crc32c);
    CHECK(std::ranges::equal(read.snapshots[i].data.view, written.snapshots[i].data.view));
  }
  CHECK(read.pending_evaluations.front().drift == 0.25);
  CHECK(read.lag_sum == 17);
  CHECK(read.so_far.updates == 6);
  CHECK(read.so_far.wall_s == 12.1);
  CHECK(read.so_far.stage_seconds == written.so_far.stage_seconds);
  CHECK(read.so_far.counters == written.so_far.counters);
  CHECK(read.so_far.peak_rss_bytes == written.so_far.peak_rss_bytes);
  CHECK(read.so_far.ledger.discarded == written.so_far.ledger.discarded);
  REQUIRE(read.so_far.evaluation.size() == 2);
  const EvaluationSummary &evaluation = read.so_far.evaluation.back(), &expected = written.so_far.evaluation.back();
  CHECK(evaluation.true_reward_mean == expected.true_reward_mean);
  CHECK(evaluation.prompts == expected.prompts);
  CHECK(evaluation.rewards == expected.rewards);
  CHECK(evaluation.images == expected.images);
  CHECK(evaluation.width == 3);
  CHECK(read.actors.at("actor-1").counters == written.actors.at("actor-1").counters);
}

TEST_CASE("one changed byte in any file of a checkpoint, and any missing file, is found and named") {
  const TemporaryFolder folder;
  const std::string path = write_sample(folder.path());
  const auto names = names_in(path);
  CHECK(names.size() == 7);
  for (const auto& name : names) {
    INFO(name);
    const std::string copy = folder.file("copy");
    fs::remove_all(copy);
    fs::copy(path, copy);
    flip_a_byte(copy + "/" + name, static_cast<std::streamoff>(fs::file_size(copy + "/" + name) / 2));
    check_error(
        ExitCode::kData, [&] { load_checkpoint(copy); }, copy, "go on from another one");
    fs::remove(copy + "/" + name);
    check_error(
        ExitCode::kData, [&] { load_checkpoint(copy); }, copy + "/" + name + "' is missing");
  }
}

TEST_CASE("a checkpoint of another run or ahead of the log is not taken; the one before it is") {
  const TemporaryFolder folder;
  const std::string path = write_sample(folder.path());
  const RunIdentity run{"run-1", "contract"};
  LogHistory history;
  history.published[0] = "first";
  for (std::int64_t update = 0; update < 6; ++update) history.trained[update] = kSlots;
  CHECK(choose_checkpoint(folder.path(), "", run, history)->next_update == 6);
  check_error(
      ExitCode::kData,
      [&] {
        choose_checkpoint(folder.path(), path, {"run-2", "contract"}, history);
      },
      "run-2");
  history.published[6] = "another digest";
  check_error(
      ExitCode::kData, [&] { choose_checkpoint(folder.path(), path, run, history); }, "another digest");
  history.published.erase(6);
  history.trained.erase(5);
  check_error(
      ExitCode::kData, [&] { choose_checkpoint(folder.path(), path, run, history); }, "the log knows of 5 trained updates");
  CHECK_FALSE(choose_checkpoint(folder.path(), "", run, history));
  CHECK(names_in(folder.path()) == std::vector<std::string>{"update-000006.unusable"});
  history.published.erase(0);  // trimmed
  check_error(
      ExitCode::kData, [&] { choose_checkpoint(folder.path(), "", run, history); }, "was trimmed");
}

TEST_CASE("the newest checkpoints, multiples and the best one stay, the rest and unfinished ones go") {
  const TemporaryFolder folder;
  CheckpointConfig config;
  config.keep = 2;
  config.keep_every = 40;
  CheckpointWriter writer(folder.path(), config);
  fs::create_directory(folder.file("update-000010.tmp.99"));
  write_file(folder.file("notes.txt"), "somebody's");
  Checkpoint checkpoint = the_sample();
  checkpoint.so_far.evaluation = {sample_evaluation(0, 0.1), sample_evaluation(20, 0.9), sample_evaluation(30, 0.5)};
  for (std::int64_t update = 10; update <= 70; update += 10) {
    checkpoint.next_update = update;
    writer.write(checkpoint);
  }
  writer.wait();
  CHECK(writer.last() == 70);
  CHECK(names_in(folder.path()) ==
        std::vector<std::string>{"notes.txt", "update-000020", "update-000040", "update-000060", "update-000070"});
}

TEST_CASE("a checkpoint of the same update replaces the one that is there") {
  const TemporaryFolder folder;
  const std::string path = write_sample(folder.path());
  write_file(path + "/COMPLETE", "damaged");
  write_sample(folder.path());
  CHECK(load_checkpoint(path).next_update == 6);
  CHECK(names_in(folder.path()) == std::vector<std::string>{"update-000006"});
}

TEST_CASE("a checkpoint that cannot be written is an error with the reason, and leaves nothing half done") {
  const TemporaryFolder folder;
  write_file(folder.file("in-the-way"), "");
  CheckpointWriter writer(folder.file("in-the-way"), {});
  writer.write(the_sample());
  check_error(
      ExitCode::kFailure, [&] { writer.wait(); }, folder.file("in-the-way"));
  writer.check();  // it was told
  CHECK_THROWS_AS(write_checkpoint_folder(folder.file("other"), 1, {{"file", [](const std::string&) { throw failure("no space"); }}}),
                  Error);
  CHECK(names_in(folder.file("other")).empty());
}

TEST_CASE("a writer keeps room for the next checkpoint, as large as the last, and frees it when it is asked to and at its end") {
  const TemporaryFolder folder;
  const std::string reserve = folder.file("checkpoints.reserve"), checkpoints = folder.file("checkpoints");
  {
    CheckpointWriter writer(checkpoints, {});
    writer.keep_room(1000);
    CHECK(fs::file_size(reserve) == 1000);
    writer.write(the_sample());
    writer.wait();
    std::uintmax_t written = 0;
    for (const auto& entry : fs::directory_iterator(checkpoints + "/update-000006")) written += entry.file_size();
    CHECK(fs::file_size(reserve) == written + written / 8);
    writer.free_room();
    CHECK_FALSE(fs::exists(reserve));
    writer.keep_room(10);
  }
  CHECK_FALSE(fs::exists(reserve));
  CheckpointConfig without;
  without.reserve = false;
  CheckpointWriter writer(checkpoints, without);
  writer.keep_room(1000);
  CHECK_FALSE(fs::exists(reserve));
}

TEST_CASE("a reserve that finds no room to grow says so and stays as it was") {
  on_small_disk(100'000, [](const std::string& folder) {
    DiskReserve reserve(folder + "/reserve");
    reserve.hold(50'000);
    reserve.hold(10'000);
    CHECK(reserve.bytes() == 50'000);
    check_error(
        ExitCode::kFailure, [&] { reserve.hold(1'000'000); }, folder + "/reserve", "1000000 bytes");
    CHECK(reserve.bytes() == 50'000);
    CHECK(fs::file_size(folder + "/reserve") == 50'000);
    reserve.release();
    CHECK_FALSE(fs::exists(folder + "/reserve"));
  });
}
