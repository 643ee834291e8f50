#include "launch/supervisor.h"

#include "common/clock.h"
#include "common/files.h"
#include "tests/common/temporary_folder.h"
#include "tests/launch/shell_child.h"
#include "tests/testing.h"

#include <csignal>
#include <sstream>
#include <thread>

using namespace nabla;

namespace {

// Times of a test; nothing here waits for a whole one of them unless it must.
FleetCommands fleet_of(const std::string& learner, const std::vector<std::string>& actors) {
  FleetCommands fleet{.learner = shell(learner), .actors = {}, .grace_s = 20.0, .first_backoff_s = 0.05, .longest_backoff_s = 20.0};
  for (const auto& line : actors) fleet.actors.push_back(shell(line));
  return fleet;
}

FleetOutcome run_fleet(const FleetCommands& fleet) { return supervise(fleet, std::stop_token()); }

// Ends with `code` once the file has so many lines.
std::string until_lines(const std::string& file, int lines, int code = 0) {
  return fmt::format("while [ $(cat {} 2>/dev/null | wc -l) -lt {} ]; do sleep 0.02; done; exit {}", file, lines, code);
}

std::vector<double> seconds_in(const std::string& file) {
  std::istringstream text(read_file(file, 1 << 16));
  std::vector<double> seconds;
  for (double nanoseconds = 0; text >> nanoseconds;) seconds.push_back(nanoseconds * 1e-9);
  return seconds;
}

// Stops the fleet as soon as a child has passed the signpost.
FleetOutcome stop_at(const FleetCommands& fleet, const Signpost& signpost) {
  std::stop_source source;
  std::jthread watcher([&] {
    signpost.wait();
    source.request_stop();
  });
  return supervise(fleet, source.get_token());
}

}  // namespace

TEST_CASE("a fleet ends with its learner, with the learner's exit code, and takes its actors along") {
  const TemporaryFolder folder;
  const std::string actor = fmt::format("trap 'echo ended > {0}; exit 0' TERM; echo x >> {1}; while :; do sleep 0.01; done",
                                        folder.file("ended"), folder.file("started"));
  const FleetOutcome outcome = run_fleet(fleet_of(until_lines(folder.file("started"), 1, 6), {actor}));
  CHECK(outcome.learner_exit == 6);
  CHECK(outcome.actor_restarts == 0);
  CHECK(read_file(folder.file("ended"), 64) == "ended\n");
}

TEST_CASE("a dead actor is started again, after a time that doubles") {
  const TemporaryFolder folder;
  const std::string starts = folder.file("starts");
  const std::string actor = "date +%s%N >> " + starts + "; exit 1";
  const FleetOutcome outcome = run_fleet(fleet_of(until_lines(starts, 4), {actor}));
  CHECK(outcome.learner_exit == 0);
  CHECK(outcome.actor_restarts >= 3);
  const std::vector<double> started = seconds_in(starts);
  REQUIRE(started.size() >= 4);
  CHECK(started[1] - started[0] >= 0.05);
  CHECK(started[2] - started[1] >= 0.10);
  CHECK(started[3] - started[2] >= 0.20);
}

TEST_CASE("the time to the next start has a longest one, and starts over after an actor that worked for longer") {
  const TemporaryFolder folder;
  const std::string starts = folder.file("starts");
  FleetCommands fleet = fleet_of(until_lines(starts, 9), {"date +%s%N >> " + starts + "; exit 1"});
  fleet.longest_backoff_s = 0.05;  // doubling without end would take 0.05 * 255 s
  const double start = monotonic_seconds();
  CHECK(run_fleet(fleet).actor_restarts >= 8);
  CHECK(monotonic_seconds() - start < 10.0);
}

TEST_CASE("an actor killed by a signal is started again") {
  const TemporaryFolder folder;
  const std::string starts = folder.file("starts");
  const FleetOutcome outcome = run_fleet(fleet_of(until_lines(starts, 2), {"echo x >> " + starts + "; kill -9 $$"}));
  CHECK(outcome.actor_restarts >= 1);
}

TEST_CASE("a fleet whose actors all ended with a usage or data error ends with that code") {
  for (const int code : {2, 3}) {
    const TemporaryFolder folder;
    const std::string starts = folder.file("starts");
    const std::string actor = fmt::format("echo x >> {}; exit {}", starts, code);
    const FleetOutcome outcome = run_fleet(fleet_of("exec sleep 60", {actor, actor}));
    CHECK(outcome.learner_exit == code);
    CHECK(outcome.actor_restarts == 0);
    CHECK(read_file(starts, 64) == "x\nx\n");
  }
}

TEST_CASE("a fleet that gives up has the exit code and the words of one and the same actor") {
  const TemporaryFolder folder;
  const std::string pid = folder.file("pid");
  // The first actor ends once the second is reaped.
  const std::string first = fmt::format("until [ -s {0} ]; do sleep 0.02; done; while [ -d /proc/$(cat {0}) ]; do sleep 0.02; done; ", pid);
  FleetCommands fleet = fleet_of("exec sleep 60", {first + "echo 'nabla: first' >&2; exit 2", "echo $$ > " + pid + "; echo 'nabla: second' >&2; exit 3"});
  for (std::size_t i = 0; i < 2; ++i) fleet.actors[i].output_file = folder.file("actor-" + std::to_string(i));
  const FleetOutcome outcome = run_fleet(fleet);
  CHECK(outcome.learner_exit == 3);
  CHECK(outcome.gave_up == "exit code 3: second");
}

TEST_CASE("a fleet goes on while one actor can work") {
  const TemporaryFolder folder;
  const std::string starts = folder.file("starts");
  // The learner ends only after the living actor was started again, long after the other gave up.
  const FleetOutcome outcome = run_fleet(fleet_of(until_lines(starts, 3), {"exit 2", "echo x >> " + starts + "; exit 1"}));
  CHECK(outcome.learner_exit == 0);
  CHECK(outcome.actor_restarts >= 2);
}

TEST_CASE("a fleet without actors waits for its learner") { CHECK(run_fleet(fleet_of("exit 4", {})).learner_exit == 4); }

TEST_CASE("a stop request reaches the learner as SIGTERM, and its own exit code counts") {
  const TemporaryFolder folder;
  const Signpost ready(folder.file("ready"));
  const std::string learner = fmt::format("trap 'exit 9' TERM; {}; while :; do sleep 0.01; done", ready.announce());
  const double start = monotonic_seconds();
  CHECK(stop_at(fleet_of(learner, {"exec sleep 60"}), ready).learner_exit == 9);
  CHECK(monotonic_seconds() - start < 15.0);  // the grace period is no waiting time
}

TEST_CASE("who does not end within the grace period is killed") {
  const TemporaryFolder folder;
  const Signpost ready(folder.file("ready"));
  FleetCommands fleet = fleet_of(fmt::format("trap '' TERM; {}; exec sleep 60", ready.announce()), {"trap '' TERM; exec sleep 60"});
  fleet.grace_s = 0.2;
  const double start = monotonic_seconds();
  CHECK(stop_at(fleet, ready).learner_exit == 128 + SIGKILL);
  CHECK(monotonic_seconds() - start >= 0.2);
}
