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
  FleetCommands fleet{.learner = shell(learner), .actor = {}, .learner_grace_s = 20.0, .grace_s = 20.0, .leave_s = 20.0, .first_backoff_s = 0.05, .longest_backoff_s = 20.0};
  fleet.actor = [actors](std::int64_t number) { return shell(actors.at(static_cast<std::size_t>(number))); };
  fleet.num_actors = std::ssize(actors);
  return fleet;
}

FleetOutcome run_fleet(const FleetCommands& fleet) {
  FleetControl control;
  return supervise(fleet, control, std::stop_token());
}

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
  FleetControl control;
  return supervise(fleet, control, source.get_token());
}

// Any number of actors of one kind. Each says "<number> came" when it starts and "<number> went" when it is asked to leave, then waits for the file
// <root>/<number>.done: its ticket.
FleetCommands fleet_of_leavers(const std::string& learner, const TemporaryFolder& folder) {
  FleetCommands fleet = fleet_of(learner, {});
  fleet.actor = [&folder](std::int64_t number) {
    return shell(fmt::format("trap 'echo {0} went >> {1}; until [ -e {2} ]; do sleep 0.02; done; exit 0' TERM; echo {0} came >> {1}; while :; do sleep 0.01; done",
                             number, folder.file("said"), folder.file(std::to_string(number) + ".done")));
  };
  return fleet;
}

// Looks until it holds, for 20 s at most.
bool eventually(const std::function<bool()>& holds) {
  const double give_up = monotonic_seconds() + 20.0;
  while (!holds()) {
    if (monotonic_seconds() > give_up) return false;
    std::this_thread::yield();
  }
  return true;
}

std::vector<std::string> states_in(const FleetView& view) {
  std::vector<std::string> states;
  for (const auto& actor : view.actors) states.push_back(actor.state);
  return states;
}

void wait_for_lines(const std::string& file, int lines) {
  ChildProcess watcher(shell(until_lines(file, lines)));
  wait_for(watcher);
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

TEST_CASE("a learner that was killed is started again as often as is allowed, and its actors stay") {
  const TemporaryFolder folder;
  const std::string starts = folder.file("starts"), again = folder.file("again");
  FleetCommands fleet = fleet_of("", {});
  fleet.learner = shell(fmt::format("while [ ! -e {} ]; do sleep 0.02; done; kill -9 $$", starts));
  fleet.learner_again = shell(fmt::format("date +%s%N >> {}; kill -9 $$", again));
  fleet.actor = [&](std::int64_t) { return shell(fmt::format("trap 'exit 0' TERM; echo x >> {}; while :; do sleep 0.01; done", starts)); };
  fleet.num_actors = 1;
  fleet.max_learner_restarts = 3;
  const FleetOutcome outcome = run_fleet(fleet);
  CHECK(outcome.learner_exit == 128 + SIGKILL);
  CHECK(outcome.learner_restarts == 3);
  CHECK(outcome.actor_restarts == 0);
  CHECK(read_file(starts, 64) == "x\n");
  const std::vector<double> started = seconds_in(again);
  REQUIRE(started.size() == 3);
  CHECK(started[1] - started[0] >= 0.10);
  CHECK(started[2] - started[1] >= 0.20);
}

TEST_CASE("a learner that lost its peers is started again while the run comes further, and never after another error") {
  struct Case {
    int exit;
    std::int64_t progress, restarts;
  };
  for (const auto& [exit, progress, restarts] : {Case{4, 1, 2}, Case{4, 0, 0}, Case{1, 1, 0}, Case{6, 1, 0}, Case{0, 1, 0}}) {
    std::int64_t updates = 0;
    FleetCommands fleet = fleet_of(fmt::format("exit {}", exit), {});
    fleet.learner_again = fleet.learner;
    fleet.max_learner_restarts = 2;
    fleet.updates_done = [&updates, step = progress] { return updates += step; };
    const FleetOutcome outcome = run_fleet(fleet);
    CHECK(outcome.learner_exit == exit);
    CHECK(outcome.learner_restarts == restarts);
  }
}

TEST_CASE("on a stop the learner gets the signal that was chosen for it") {
  const TemporaryFolder folder;
  const Signpost signpost(folder.file("here"));
  FleetCommands fleet = fleet_of("trap 'exit 75' USR1; trap 'exit 1' TERM; " + signpost.announce() + "; while :; do sleep 0.01; done", {});
  fleet.stop_signal = [] { return SIGUSR1; };
  CHECK(stop_at(fleet, signpost).learner_exit == 75);
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
  fleet.actor = [&folder, actor = fleet.actor](std::int64_t number) {
    ChildCommand command = actor(number);
    command.output_file = folder.file("actor-" + std::to_string(number));
    return command;
  };
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
  fleet.learner_grace_s = fleet.grace_s = 0.2;
  const double start = monotonic_seconds();
  CHECK(stop_at(fleet, ready).learner_exit == 128 + SIGKILL);
  CHECK(monotonic_seconds() - start >= 0.2);
}

TEST_CASE("a fleet that is scaled up starts actors, and one that is scaled down lets those of the highest numbers finish") {
  const TemporaryFolder folder;
  const std::string said = folder.file("said"), over = folder.file("over");
  FleetCommands fleet = fleet_of_leavers(until_lines(over, 1), folder);
  fleet.num_actors = 1;
  FleetControl control;
  std::jthread scaler([&] {
    wait_for_lines(said, 1);
    control.scale_to(3);
    wait_for_lines(said, 3);
    control.scale_to(1);
    wait_for_lines(said, 5);
    // The two that leave are still at work.
    const std::vector<std::string> states{"running", "leaves when its ticket is done", "leaves when its ticket is done"};
    CHECK(eventually([&] { return states_in(control.view()) == states; }));
    CHECK(control.view().actors_wanted == 1);
    for (const char* number : {"1", "2"}) write_file(folder.file(std::string(number) + ".done"), "");
    CHECK(eventually([&] { return control.view().actors.size() == 1; }));
    control.scale_to(2);
    wait_for_lines(said, 6);
    for (const char* number : {"0", "1"}) write_file(folder.file(std::string(number) + ".done"), "");
    write_file(over, "over\n");
  });
  const FleetOutcome outcome = supervise(fleet, control, std::stop_token());
  scaler.join();
  CHECK(outcome.learner_exit == 0);
  CHECK(outcome.actor_restarts == 0);
  const std::string text = read_file(said, 1 << 16);
  CHECK(text.starts_with("0 came\n"));
  CHECK(text.find("1 came") != std::string::npos);
  CHECK(text.find("2 came") != std::string::npos);
  CHECK(text.find("1 went") != std::string::npos);
  CHECK(text.find("2 went") != std::string::npos);
  CHECK(text.find("1 came", text.find("2 went")) != std::string::npos);  // it came back
  CHECK(text.find("0 went") == text.rfind("0 went"));                    // only at the end
}

TEST_CASE("an actor that is asked to leave and does not is killed after its time") {
  const TemporaryFolder folder;
  const Signpost ready(folder.file("ready"));
  FleetCommands fleet = fleet_of(until_lines(folder.file("over"), 1), {fmt::format("trap '' TERM; {}; while :; do sleep 0.01; done", ready.announce())});
  fleet.leave_s = 0.2;
  FleetControl control;
  std::jthread scaler([&] {
    ready.wait();
    CHECK(eventually([&] { return control.view().actors.size() == 1; }));
    control.scale_to(0);
    CHECK(eventually([&] { return control.view().actors.empty(); }));
    write_file(folder.file("over"), "over\n");
  });
  CHECK(supervise(fleet, control, std::stop_token()).learner_exit == 0);
}

TEST_CASE("actors that go on after their learner has ended get a second signal") {
  const TemporaryFolder folder;
  const Signpost ready(folder.file("ready"));
  FleetCommands fleet = fleet_of("exit 0", {fmt::format("trap '' TERM; trap 'echo hurried > {}; exit 0' INT; {}; while :; do sleep 0.01; done",
                                                       folder.file("hurried"), ready.announce())});
  fleet.learner = shell("cat " + folder.file("ready"));  // ends once the actor stands
  fleet.grace_s = 4.0;
  CHECK(run_fleet(fleet).learner_exit == 0);
  CHECK(read_file(folder.file("hurried"), 64) == "hurried\n");
}

TEST_CASE("an actor that cannot be started does not end the learner") {
  const TemporaryFolder folder;
  FleetCommands fleet = fleet_of("exit 0", {"exit 0"});
  const auto actor = fleet.actor;
  fleet.learner = shell("sleep 0.3; exit 0");
  fleet.actor = [&](std::int64_t number) {
    ChildCommand command = actor(number);
    command.output_file = folder.file("missing/actor.log");
    return command;
  };
  const FleetOutcome outcome = run_fleet(fleet);
  CHECK(outcome.learner_exit == 0);
  CHECK(outcome.actor_restarts > 0);
}
