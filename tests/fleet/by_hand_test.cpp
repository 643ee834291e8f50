#include "common/json_file.h"
#include "protocol/endpoints.h"
#include "protocol/fleet_client.h"
#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <unistd.h>
#include <csignal>

#include <stop_token>

using namespace nabla;

namespace {

void check_like_reference(const std::string& run, std::int64_t actors) {
  const auto summary = summary_of(run);
  CHECK(summary.at("exit_reason") == "finished");
  CHECK(summary.at("weights_digest") == weights_of(reference_run().folder));
  CHECK(summary.at("actors_seen") == actors);
  CHECK(summary.at("ledger").at("residual") == 0);
  CHECK(summary.at("ledger").at("discarded").empty());
}

std::string control_of(const std::string& run) {
  REQUIRE(wait_until([&] { return exists(run + "/endpoints.json"); }, kRunDeadline));
  return read_json(run + "/endpoints.json").at("control").get<std::string>();
}

// An actor of this process that takes one ticket and does not work on it.
class Idler {
 public:
  Idler(const std::string& control, const std::string& id) : client_({.control_endpoint = control, .actor_id = id}, stop_.get_token()) {
    Hello hello;
    hello.actor_id = id;
    hello.pid = getpid();
    client_.connect(hello);
    ticket_ = client_.next_work().ticket;
  }
  const std::optional<Ticket>& ticket() const { return ticket_; }
  void leave() { client_.leave(); }

 private:
  std::stop_source stop_;
  FleetClient client_;
  std::optional<Ticket> ticket_;
};

bool waits_for(const std::string& run, const std::string& whom) {
  const auto status = status_of(run);
  return status.contains("waiting_for") && status.at("waiting_for").get<std::string>().find(whom) != std::string::npos;
}

}  // namespace

TEST_CASE("a learner and an actor started by hand over ipc make the run of the single command") {
  const Runs runs;
  const std::string run = runs.folder("ipc");
  Process actor(actor_command(run, "first"));
  Process learner(runs.command("learner", "ipc"));
  CHECK(control_of(run).starts_with("ipc://"));
  const Outcome outcome = learner.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(actor.wait().exit == 0);
  check_like_reference(run, 1);
}

TEST_CASE("an actor waits for the learner of its run folder as long as it is told to") {
  const Runs runs;
  const Outcome outcome = Process(actor_command(runs.folder("nobody"), "alone", {"--patience", "1"})).wait();
  CHECK(outcome.exit == 4);
  CHECK(outcome.says("no learner has written"));
  CHECK(outcome.says("within 1 s"));
}

TEST_CASE("actors leave and join in the middle of a run over TCP, and the learner names whom it waits for") {
  const Runs runs;
  const std::string run = runs.folder("tcp");
  Process learner(runs.command("learner", "tcp", {"fleet.bind=tcp://127.0.0.1:*"}));
  const std::string control = control_of(run);
  REQUIRE(control.starts_with("tcp://127.0.0.1:"));
  REQUIRE(wait_until([&] { return waits_for(run, "no actor is connected"); }, kRunDeadline));

  Process first(actor_command(control, "first"));
  REQUIRE(wait_until([&] { return updates_done(run) >= 2; }, kRunDeadline));
  first.signal(SIGTERM);
  CHECK(first.wait().exit == 0);

  Idler idler(control, "idler");
  REQUIRE(idler.ticket());
  CHECK(wait_until([&] { return waits_for(run, "idler (ticket " + std::to_string(idler.ticket()->id)); }, kRunDeadline));
  idler.leave();

  Process last(actor_command(run, "last"));
  const Outcome outcome = learner.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK(last.wait().exit == 0);
  check_like_reference(run, 3);
  CHECK(outcome.says("actor first has left"));
  CHECK(actors_in(read_log(run + "/queue/rank-0")) == std::set<std::string>{"first", "last"});
}
