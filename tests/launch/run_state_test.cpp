#include "launch/live/run_state.h"

#include "common/files.h"
#include "common/json_file.h"
#include "launch/live/control_point.h"
#include "launch/live/find_run.h"
#include "launch/machine.h"
#include "launch/process_identity.h"
#include "launch/run_folder.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/launch/shell_child.h"
#include "tests/launch/working_folder.h"
#include "tests/testing.h"

#include <unistd.h>

#include <filesystem>

using namespace nabla;

namespace fs = std::filesystem;

namespace {

constexpr std::chrono::milliseconds kPatience{20'000};

RunFolder make_run(const std::string& path) {
  RunConfig config;
  config.run.dir = path;
  return create_run_folder(config, {"nabla"});
}

std::vector<HttpRoute> status_route(HttpResponse answer) {
  return {{"GET", "/status", [answer](const HttpRequest&) { return answer; }}};
}

void write_control_file(const std::string& run, const std::string& host, pid_t pid) {
  fs::create_directories(run + "/control");
  write_json(run + "/control/learner.json", {{"role", "learner"}, {"host", host}, {"pid", pid}, {"socket", run + "/none"}, {"http", ""}});
}

}  // namespace

TEST_CASE("a control service is found by the run folder as long as it lives, behind a folder that is ours alone") {
  const TemporaryFolder root;
  const RunFolder run = make_run(root.file("run"));
  std::string socket;
  {
    const ControlService service(run, "learner", status_route({.body = "fine"}));
    const auto point = read_control_point(run.path, "learner");
    REQUIRE(point);
    CHECK(may_be_alive(*point));
    CHECK(point->pid == getpid());
    CHECK(call(*point, "GET", "/status", kPatience).body == "fine");
    socket = point->socket;
    const auto permissions = fs::status(fs::path(socket).parent_path()).permissions();
    CHECK((permissions & fs::perms::all) == fs::perms::owner_all);
  }
  CHECK_FALSE(read_control_point(run.path, "learner"));
  CHECK_FALSE(fs::exists(fs::path(socket).parent_path()));
}

TEST_CASE("a run whose learner answers is live, and one that is not ready is starting") {
  const TemporaryFolder root;
  const RunFolder run = make_run(root.file("run"));
  {
    const ControlService service(run, "learner", status_route({.body = "{\"run_id\": \"x\"}"}));
    const RunState state = look_at_run(run.path);
    CHECK(state.life == RunLife::kLive);
    CHECK(state.status.at("run_id") == "x");
    CHECK(state.fleet.is_null());
  }
  const ControlService service(run, "learner", status_route({.status = 503, .body = "starting\n"}));
  const RunState state = look_at_run(run.path);
  CHECK(state.life == RunLife::kStarting);
  CHECK(state.text == "starting");
}

TEST_CASE("a run whose learner is gone without a word is dead, and its last words are told") {
  const TemporaryFolder root;
  const RunFolder run = make_run(root.file("run"));
  CHECK(look_at_run(run.path).life == RunLife::kDead);
  ChildProcess reaped(shell("exit 0"));
  wait_for(reaped);
  write_control_file(run.path, name_of_this_machine(), reaped.pid());
  write_json(run.file("status.json"), {{"state", "waiting"}, {"update", 7}});
  const RunState state = look_at_run(run.path);
  CHECK(state.life == RunLife::kDead);
  for (const std::string& part : {std::string("is gone"), std::string("'waiting' at update 7"), "nabla train --resume " + run.path}) {
    INFO(state.text);
    CHECK(state.text.find(part) != std::string::npos);
  }
  write_json(run.file("summary.json"), {{"exit_reason", "finished"}});
  CHECK(look_at_run(run.path).life == RunLife::kEnded);
}

TEST_CASE("a process that was given the number of a run's dead learner is not taken for it") {
  const TemporaryFolder root;
  const RunFolder run = make_run(root.file("run"));
  write_control_file(run.path, name_of_this_machine(), getpid());
  auto file = read_json(run.path + "/control/learner.json");
  file["birth"] = "1@another-boot";
  write_json(run.path + "/control/learner.json", file);
  CHECK_FALSE(may_be_alive(*read_control_point(run.path, "learner")));
  const RunState state = look_at_run(run.path);
  CHECK(state.life == RunLife::kDead);
  CHECK(state.text.find("is gone") != std::string::npos);
  file["birth"] = birth_of(getpid());
  write_json(run.path + "/control/learner.json", file);
  CHECK(may_be_alive(*read_control_point(run.path, "learner")));
}

TEST_CASE("a learner on another machine is asked there") {
  const TemporaryFolder root;
  const RunFolder run = make_run(root.file("run"));
  write_control_file(run.path, "elsewhere", getpid());
  const auto point = read_control_point(run.path, "learner");
  REQUIRE(point);
  CHECK(may_be_alive(*point));
  check_error(
      ExitCode::kNetwork, [&] { call(*point, "GET", "/status", kPatience); }, "elsewhere", "http.bind");
  write_file(run.path + "/control/learner.json", "{}");
  check_error(
      ExitCode::kData, [&] { read_control_point(run.path, "learner"); }, "control/learner.json");
}

TEST_CASE("without a name the one live run is meant, else the newest, and several are listed") {
  const WorkingFolder here;
  check_error(
      ExitCode::kUsage, [] { find_run(""); }, "no run under runs/");
  const RunFolder first = make_run("runs/a/1"), second = make_run("runs/b");
  fs::last_write_time("runs/b/env.json", fs::last_write_time("runs/a/1/env.json") - std::chrono::hours(1));
  CHECK(find_run("") == "runs/a/1");
  check_error(
      ExitCode::kUsage, [] { find_live_run(""); }, "is alive");
  const ControlService service(second, "train", {});
  CHECK(find_live_run("") == "runs/b");
  CHECK(find_run("") == "runs/b");
  const ControlService other(first, "learner", {});
  check_error(
      ExitCode::kUsage, [] { find_live_run(""); }, "runs/a/1", "runs/b");
  CHECK(find_live_run("runs/a/1") == "runs/a/1");
  check_error(
      ExitCode::kUsage, [] { find_run("runs/a"); }, "no run folder");
}
