#include "launch/run_recorder.h"

#include "common/files.h"
#include "common/image_png.h"
#include "common/json_file.h"
#include "launch/run_folder.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/launch/captured_run.h"
#include "tests/launch/synthetic_run.h"
#include "tests/testing.h"

#include <nlohmann/json.hpp>

#include <limits>
#include <sstream>

using namespace nabla;

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxBytes = 1 << 24;

std::string make_folder(const TemporaryFolder& root) {
  RunConfig config;
  config.run.dir = root.file("run");
  return create_run_folder(config, {"nabla"}).path;
}

}  // namespace

TEST_CASE("a run leaves metrics, status, summary, gallery and report") {
  const TemporaryFolder root;
  const std::string run = make_folder(root);
  Console console({.quiet = true});
  {
    CapturedOutput quiet(STDERR_FILENO, stderr, root.file("err"));
    RunRecorder recorder(run, console);
    recorder.on_start(synthetic_facts());
    CHECK(read_json(run + "/status.json")["state"] == "running");
    recorder.on_wait("actors");
    CHECK(read_json(run + "/status.json")["waiting_for"] == "actors");
    for (const auto& update : synthetic_updates()) recorder.on_update(update);
    recorder.finish({synthetic_summary(), nullptr});
  }
  std::istringstream lines(read_file(run + "/metrics.jsonl", kMaxBytes));
  std::int64_t updates = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto json = parse_json(line, "metrics.jsonl");
    CHECK(json["update"] == ++updates);
    CHECK(json.contains("wall_s"));
    CHECK(json.contains("reward_mean"));
  }
  CHECK(updates == 20);
  CHECK(read_json(run + "/summary.json")["updates"] == 20);
  CHECK(read_json(run + "/status.json")["state"] == "finished");
  CHECK(read_json(run + "/status.json")["update"] == 20);
  CHECK(read_png(run + "/gallery.png").width > 500);
  CHECK(read_file(run + "/report.html", kMaxBytes).find("data:image/png;base64,") != std::string::npos);
}

TEST_CASE("a run that failed leaves a summary and a report all the same, and its error goes on") {
  const TemporaryFolder root;
  const std::string run = make_folder(root);
  Console console({.quiet = true});
  RunRecorder recorder(run, console);
  RunSummary summary;
  summary.exit_reason = "failed: no actor";
  check_error(
      ExitCode::kNetwork,
      [&] {
        recorder.finish({summary, std::make_exception_ptr(network_error("no actor"))});
      },
      "no actor");
  CHECK(read_json(run + "/summary.json")["exit_reason"] == "failed: no actor");
  CHECK_FALSE(fs::exists(run + "/gallery.png"));
  CHECK(read_file(run + "/report.html", kMaxBytes).find("failed: no actor") != std::string::npos);
}

TEST_CASE("a summary that cannot be written hides no error of the run, but is one of a good run") {
  const TemporaryFolder root;
  const std::string run = make_folder(root);
  Console console({.quiet = true});
  RunRecorder recorder(run, console);
  CapturedOutput quiet(STDERR_FILENO, stderr, root.file("err"));
  fs::create_directory(run + "/summary.json");
  check_error(
      ExitCode::kNetwork,
      [&] {
        recorder.finish({{}, std::make_exception_ptr(network_error("no actor"))});
      },
      "no actor");
  check_error(
      ExitCode::kFailure,
      [&] {
        recorder.finish({{}, nullptr});
      },
      "summary.json");
}

TEST_CASE("a loss that is not finite is recorded as null") {
  const TemporaryFolder root;
  const std::string run = make_folder(root);
  Console console({.quiet = true});
  RunRecorder recorder(run, console);
  CapturedOutput quiet(STDERR_FILENO, stderr, root.file("err"));
  recorder.on_update({1, 0.5, {{"loss", std::numeric_limits<double>::quiet_NaN()}}});
  CHECK(read_file(run + "/metrics.jsonl", kMaxBytes) == "{\"update\":1,\"wall_s\":0.5,\"loss\":null}\n");
  CHECK(read_json(run + "/status.json")["update"] == 1);
}
