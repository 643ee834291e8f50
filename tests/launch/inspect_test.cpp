#include "launch/inspection.h"

#include "launch/run_folder.h"
#include "launch/summary.h"
#include "protocol/trajectory_log.h"
#include "tests/actors/tiny_model.h"
#include "tests/common/error_check.h"
#include "tests/diffusion/small_model.h"
#include "tests/launch/captured_run.h"
#include "tests/launch/synthetic_run.h"
#include "tests/protocol/sample_record.h"

#include <nlohmann/json.hpp>

using namespace nabla;

namespace fs = std::filesystem;

namespace {

std::string torch_path(const char* name) { return fmt::format("{}/torch_files/{}", NABLA_PARITY_DATA, name); }

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void write_weights(const std::string& path) {
  save_tensors(path, {{"a.weight", at::ones({2, 3})}, {"b", at::ones({5}, at::kLong)}}, {{"note", "hello"}});
}

// Two records, a discard, two versions and one update.
void write_log(const std::string& folder) {
  const auto log = TrajectoryLog::create({.folder = folder}, {.run_id = "run-1", .weights_contract = "contract", .config = "seed: 1\n"});
  log->append(PublishEntry{0, "digest-0"});
  log->append(sample_record(4));
  log->append(sample_record(11));
  log->append(DiscardEntry{5, 1, "non_finite"});
  log->append(TrainedEntry{0, {4, 11}});
  log->append(PublishEntry{1, "digest-1"});
  log->close();
}

// A finished run with a log, in its own folder or in log.dir.
std::string write_run(const TemporaryFolder& root, const std::string& log_dir = "") {
  RunConfig config;
  config.log.dir = log_dir;
  config.run.dir = root.file("run");
  config.run.name = "my run";
  const RunFolder folder = create_run_folder(config, {"nabla", "train"});
  write_json(folder.file("summary.json"), summary_json(synthetic_summary()));
  write_log((log_dir.empty() ? folder.file("queue") : log_dir) + "/rank-0");
  return folder.path;
}

// Neither as text nor as JSON.
void check_damaged(const std::string& path) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"inspect", path}, {"inspect", path, "--json"}}) {
    const CapturedRun run = run_nabla(arguments);
    CHECK_MESSAGE(run.code == 3, path);
    CHECK_MESSAGE(run.out.empty(), path);
    CHECK_MESSAGE(run.err.starts_with("nabla: "), path);
  }
}

}  // namespace

TEST_CASE("a safetensors file is told by its tensors") {
  const TemporaryFolder folder;
  write_weights(folder.file("x.safetensors"));
  const auto json = inspect_path(folder.file("x.safetensors"));
  CHECK(json["kind"] == "safetensors");
  CHECK(json["metadata"]["note"] == "hello");
  REQUIRE(json["tensors"].size() == 2);
  CHECK(nlohmann::json(json["tensors"][0]) == nlohmann::json{{"name", "a.weight"}, {"dtype", "F32"}, {"shape", {2, 3}}, {"bytes", 24}});
  CHECK(nlohmann::json(json["tensors"][1]) == nlohmann::json{{"name", "b"}, {"dtype", "I64"}, {"shape", {5}}, {"bytes", 40}});
  CHECK(nlohmann::json(json["total"]) == nlohmann::json{{"tensors", 2}, {"elements", 11}, {"bytes", 64}});
  const std::string text = inspection_text(json);
  for (const char* part : {"a.weight", "F32", "[2, 3]", "24", "note: hello", "2 tensors, 11 elements, 64 B"})
    CHECK_MESSAGE(holds(text, part), part);
}

TEST_CASE("a model folder is told by its components") {
  const TinyModel model;
  const auto json = inspect_path(model.path());
  CHECK(json["kind"] == "model");
  std::int64_t sum = 0;
  for (const char* component : {"unet", "vae", "text_encoder"}) sum += json["components"][component]["parameters"].get<std::int64_t>();
  std::int64_t unet = 0;
  for (const auto& [name, tensor] : named_tensors(*model.open().load_unet(at::kFloat))) unet += tensor.numel();
  CHECK(json["components"]["unet"]["parameters"] == unet);
  CHECK(json["parameters"] == sum);
  CHECK(json["tokenizer_length"] == 12);
  CHECK(json["scheduler"]["beta_schedule"] == "scaled_linear");
  CHECK(holds(inspection_text(json), std::to_string(unet)));
}

TEST_CASE("pickled weights are told by their tensors and by what is passed over") {
  const auto json = inspect_path(torch_path("trainer.ckpt"));
  CHECK(json["kind"] == "torch");
  CHECK(json["total"]["tensors"] == 300);
  CHECK(json["tensors"][0]["name"] == "model.diffusion_model.layer_0.weight");
  CHECK(json["left_out"].size() == 8);
  CHECK(json["checkpoint"] == "a Stable Diffusion v1.x checkpoint");
  CHECK(holds(json["problem"].get<std::string>(), "no text_encoder"));
  const std::string text = inspection_text(json);
  for (const char* part : {"torch file", "passed over: epoch, global_step", "300 tensors", "no text_encoder"}) CHECK_MESSAGE(holds(text, part), part);
  check_damaged(torch_path("evil.pt"));
}

TEST_CASE("a single file is told by its components, with every missing and unexpected name") {
  const TemporaryFolder folder;
  TensorMap tensors = small_model().single();
  tensors["model_ema.decay"] = at::ones({});
  save_tensors(folder.file("whole.safetensors"), tensors);
  const auto whole = inspect_path(folder.file("whole.safetensors"));
  CHECK(whole["components"]["vae"]["tensors"] == named_tensors(*small_model().folder().load_vae(at::kFloat)).size());
  CHECK_FALSE(whole["components"]["unet"].contains("missing"));
  CHECK(nlohmann::json(whole["passed_over"]) == nlohmann::json{"model_ema.decay"});
  CHECK(holds(inspection_text(whole), "passed over: model_ema.decay"));
  std::size_t missing = 0;
  for (const auto& [name, tensor] : small_model().single()) {
    if (name.find(".transformer_blocks.") == std::string::npos) continue;
    tensors.erase(name);
    ++missing;
  }
  tensors["model.diffusion_model.extra"] = at::ones({1});
  save_tensors(folder.file("part.safetensors"), tensors);
  const auto part = inspect_path(folder.file("part.safetensors"));
  CHECK(missing > 8);
  CHECK(part["components"]["unet"]["missing"].size() == missing);
  CHECK(nlohmann::json(part["components"]["unet"]["unexpected"]) == nlohmann::json{"model.diffusion_model.extra"});
  const std::string text = inspection_text(part);
  CHECK(holds(text, fmt::format("{} missing:", missing)));
  CHECK(holds(text, "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"));
}

TEST_CASE("a checkpoint of another family is told by its family") {
  const TemporaryFolder folder;
  save_tensors(folder.file("x.safetensors"), {{"conditioner.embedders.0.weight", at::ones({2})}});
  CHECK(holds(inspection_text(inspect_path(folder.file("x.safetensors"))), "Stable Diffusion XL"));
}

TEST_CASE("a trajectory log is told by its entries") {
  const TemporaryFolder folder;
  write_log(folder.file("rank-0"));
  for (const std::string& path : {folder.file("rank-0"), folder.path()}) {
    const auto json = inspect_path(path);
    CHECK(json["kind"] == "log");
    CHECK(json["run_id"] == "run-1");
    CHECK(json["records"] == 2);
    CHECK(json["unreadable"] == 0);
    CHECK(json["transitions"] == 4);
    CHECK(json["versions"] == 2);
    CHECK(json["last_version"] == 1);
    CHECK(json["last_digest"] == "digest-1");
    CHECK(json["updates"] == 1);
    CHECK(json["trained"] == 2);
    CHECK(nlohmann::json(json["discards"]) == nlohmann::json{{"non_finite", 1}});
    CHECK(json["reward_mean"] == 0.25);
    CHECK(nlohmann::json(json["policy_lag"]) == nlohmann::json{{"mean", 0.5}, {"max", 1}});
    CHECK(nlohmann::json(json["actors"]) == nlohmann::json{"host-4711"});
  }
  const std::string text = inspection_text(inspect_path(folder.path()));
  for (const char* part : {"records 2", "versions 2, the last 1 digest-1", "1 (non_finite 1)", "max 1"})
    CHECK_MESSAGE(holds(text, part), part);
}

TEST_CASE("the logs of several ranks are added up") {
  const TemporaryFolder folder;
  write_log(folder.file("rank-0"));
  write_log(folder.file("rank-1"));
  const auto json = inspect_path(folder.path());
  CHECK(json["records"] == 4);
  CHECK(json["versions"] == 2);
  CHECK(json["discards"]["non_finite"] == 2);
}

TEST_CASE("a log that a crash cut off is told up to there, with a warning") {
  const TemporaryFolder folder;
  write_log(folder.path());
  std::string segment;
  for (const auto& entry : fs::directory_iterator(folder.path())) segment = entry.path().string();
  fs::resize_file(segment, fs::file_size(segment) - 1);
  const auto json = inspect_path(folder.path());
  CHECK(json["records"] == 2);
  CHECK(json["warnings"].size() == 1);
  CHECK(holds(inspection_text(json), "warning: "));
}

TEST_CASE("a run folder is told by its end, evaluations, ledger and log") {
  const TemporaryFolder root;
  const auto json = inspect_path(write_run(root));
  CHECK(json["kind"] == "run");
  CHECK(json["name"] == "my run");
  CHECK(json["exit_reason"] == "finished");
  CHECK(json["summary"]["ledger"]["residual"] == 0);
  CHECK(json["log"]["records"] == 2);
  const std::string text = inspection_text(json);
  for (const char* part :
       {"run 'my run'", "exit reason: finished", "7.00", "issued 165 = trained 157 + discarded 3", "residual 0", "records 2"})
    CHECK_MESSAGE(holds(text, part), part);
}

TEST_CASE("a run is known by its folder where log.dir names another one for its log") {
  const TemporaryFolder root;
  const std::string logs = root.file("logs"), run = write_run(root, logs);
  CHECK(inspect_path(run)["log"]["records"] == 2);
  const CapturedRun listed = run_nabla({"log", "ls", run});
  CHECK(listed.code == 0);
  CHECK(holds(listed.out, logs + "/rank-0"));
  // As `nabla relabel` writes it: the configuration is that of the run it was made of, the log its own.
  write_log(run + "/queue/rank-0");
  CHECK(holds(run_nabla({"log", "ls", run}).out, run + "/queue/rank-0"));
  fs::remove_all(run + "/queue");
  fs::remove_all(logs);
  CHECK_FALSE(inspect_path(run).contains("log"));
  const CapturedRun gone = run_nabla({"log", "ls", run});
  CHECK(gone.code == 3);
  CHECK(holds(gone.err, "log.dir"));
}

TEST_CASE("a run that goes on or never began is told too") {
  const TemporaryFolder root;
  const std::string run = write_run(root);
  fs::remove(run + "/summary.json");
  CHECK(holds(inspection_text(inspect_path(run)), "has not begun"));
  write_json(run + "/status.json", {{"state", "running"}, {"update", 3}});
  CHECK(holds(inspection_text(inspect_path(run)), "running at update 3 of"));
  fs::remove_all(run + "/queue");
  CHECK(holds(inspection_text(inspect_path(run)), "no trajectory log"));
}

TEST_CASE("what cannot be inspected gets one answer that says what can") {
  const TemporaryFolder folder;
  write_file(folder.file("x.txt"), "hello");
  check_error(
      ExitCode::kData, [&] { inspect_path(folder.path()); }, folder.path(), "config.yaml", "model_index.json", "*.seg");
  check_error(
      ExitCode::kData, [&] { inspect_path(folder.file("x.txt")); }, "x.txt", "safetensors");
  check_error(
      ExitCode::kData, [&] { inspect_path(folder.file("absent")); }, "absent");
}

TEST_CASE("damaged files are data errors") {
  const TemporaryFolder root;
  const std::string weights = root.file("x.safetensors"), run = write_run(root);
  write_weights(weights);
  fs::resize_file(weights, fs::file_size(weights) - 1);
  check_damaged(weights);
  write_file(weights, "");
  check_damaged(weights);

  write_file(run + "/summary.json", "{\"exit_reason\": \"fin");
  check_damaged(run);
  write_file(run + "/summary.json", "[1, 2]\n");
  check_damaged(run);
  write_file(run + "/summary.json", "{\"exit_reason\": 7}\n");
  check_damaged(run);
  fs::remove(run + "/summary.json");
  write_file(run + "/config.yaml", "run: [\n");
  check_damaged(run);

  write_log(root.file("log"));
  std::string segment;
  for (const auto& entry : fs::directory_iterator(root.file("log"))) segment = entry.path().string();
  std::string bytes = read_file(segment, 1 << 24);
  bytes[200] = static_cast<char>(bytes[200] ^ 1);
  write_file(segment, bytes);
  check_damaged(root.file("log"));
}

TEST_CASE("a damaged model folder is a data error that names the file") {
  const TinyModel model;
  const std::string weights = model.file("vae/diffusion_pytorch_model.safetensors");
  fs::resize_file(weights, fs::file_size(weights) / 2);
  check_damaged(model.path());
  fs::remove(weights);
  check_damaged(model.path());
}

TEST_CASE("JSON is what the command prints when asked for it") {
  const TemporaryFolder root;
  const CapturedRun run = run_nabla({"inspect", "--json", write_run(root)});
  CHECK(run.code == 0);
  CHECK(parse_json(run.out, "output")["kind"] == "run");
  CHECK(run_nabla({"inspect", root.file("run")}).out.starts_with("run 'my run'"));
}
