#include "common/error.h"
#include "common/json_file.h"
#include "launch/http/http_client.h"
#include "launch/http/http_server.h"
#include "launch/live/control_point.h"
#include "launch/live/run_state.h"
#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

using namespace nabla;

namespace {

std::int64_t connected_actors(const RunState& state) {
  if (state.life != RunLife::kLive) return 0;
  const auto& actors = state.status.at("actors");
  return std::count_if(actors.begin(), actors.end(), [](const auto& actor) { return actor.at("connected").template get<bool>(); });
}

// Actors that are here and whose records were taken.
std::int64_t working_actors(const std::string& run) {
  const RunState state = look_at_run(run);
  if (state.life != RunLife::kLive) return 0;
  const auto& actors = state.status.at("actors");
  return std::count_if(actors.begin(), actors.end(), [](const auto& actor) {
    return actor.at("connected").template get<bool>() && actor.at("records").template get<std::int64_t>() > 0;
  });
}

bool has_actors(const std::string& run, std::int64_t count) { return connected_actors(look_at_run(run)) == count; }

void scale(const std::string& run, const std::string& actors) {
  const Outcome outcome = run_nabla({"scale", actors, run});
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
}

bool trains_on(const std::string& run) {
  const std::int64_t before = updates_done(run);
  return wait_until([&] { return updates_done(run) > before; }, kRunDeadline);
}

// Two in a row that were free just now.
std::uint16_t two_free_ports() {
  for (int attempt = 0; attempt < 50; ++attempt) {
    try {
      const HttpServer first({.routes = {}, .socket_path = "", .tcp_address = "127.0.0.1:0"});
      const std::string& address = first.tcp_address();
      const int port = std::stoi(address.substr(address.rfind(':') + 1));
      const HttpServer second({.routes = {}, .socket_path = "", .tcp_address = "127.0.0.1:" + std::to_string(port + 1)});
      return static_cast<std::uint16_t>(port);
    } catch (const Error&) {
    }
  }
  throw failure("no two free ports in a row");
}

void check_closed_ledger(const nlohmann::ordered_json& ledger) {
  CHECK(ledger.at("residual") == 0);
  CHECK(ledger.at("discarded").empty());
}

}  // namespace

TEST_CASE("a run that is scaled from 1 to 3 to 1 actors loses nothing, and its weights are those of the undisturbed run") {
  const Runs runs;
  const std::string calm = runs.folder("calm"), run = runs.folder("scaled");
  Process train(runs.command("train", "scaled", {kEndless, "actors.count=1"}));
  REQUIRE(wait_until([&] { return updates_done(run) >= 2; }, kRunDeadline));
  scale(run, "3");
  REQUIRE(wait_until([&] { return working_actors(run) == 3; }, kRunDeadline));
  check_closed_ledger(look_at_run(run).status.at("ledger"));
  REQUIRE(trains_on(run));
  scale(run, "1");
  REQUIRE(wait_until([&] { return has_actors(run, 1); }, kRunDeadline));
  REQUIRE(trains_on(run));
  CHECK(run_nabla({"stop", run}).exit == 0);
  const Outcome outcome = train.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  CHECK_FALSE(outcome.says("starting it again"));
  const auto summary = summary_of(run);
  check_closed_ledger(summary.at("ledger"));
  CHECK(summary.at("actors_seen") == 3);
  CHECK(summary.at("updates") == updates_done(run));
  CHECK(summary.at("counters").at("failed_attempts") == 0);  // who left had finished its ticket
  CHECK(actors_in(read_log(run + "/queue/rank-0")) == std::set<std::string>{"actor-0", "actor-1", "actor-2"});
  // The undisturbed run is as long as this one came to be.
  CHECK(Process(runs.command("train", "calm", {fmt::format("training.updates={}", updates_done(run)), "actors.count=1"})).wait().exit == 0);
  CHECK(weights_of(run) == weights_of(calm));
}

TEST_CASE("the status of a live run lists its actors and tickets, and nabla stop ends it well") {
  const Runs runs;
  const std::string run = runs.folder("live");
  Process train(runs.command("train", "live", {kEndless, "http.bind=127.0.0.1:0"}));
  REQUIRE(wait_until([&] { return updates_done(run) >= 1 && working_actors(run) == 2; }, kRunDeadline));

  const Outcome text = run_nabla({"status", run});
  INFO(text.output);
  CHECK(text.exit == 0);
  for (const char* part : {"of 5000 updates", "actor-0", "actor-1", "keeps 2 actors", "residual 0", "ticket"}) CHECK(text.says(part));
  const Outcome json = run_nabla({"status", run, "--json"});
  const auto parsed = parse_json(json.output, "nabla status --json");
  CHECK(parsed.at("life") == "live");
  CHECK(parsed.at("status").at("actors").at(0).at("id") == "actor-0");
  CHECK(parsed.at("status").at("actors").at(0).at("records") > 0);

  const std::string address = "http://" + read_control_point(run, "learner")->http;
  const HttpResponse metrics = call_http(address, "GET", "/metrics", std::chrono::seconds(10));
  CHECK(metrics.status == 200);
  CHECK(metrics.content_type == "text/plain; version=0.0.4; charset=utf-8");
  CHECK(metrics.body.find("nabla_actors_connected{role=\"learner\",rank=\"0\"} 2\n") != std::string::npos);
  CHECK(call_http(address, "GET", "/readyz", std::chrono::seconds(10)).status == 200);
  CHECK(call_http(address, "POST", "/stop", std::chrono::seconds(10)).status == 404);

  const Outcome stop = run_nabla({"stop", run});
  INFO(stop.output);
  CHECK(stop.exit == 0);
  CHECK(stop.says("stopped after"));
  CHECK(train.wait().exit == 0);
  CHECK(summary_of(run).at("exit_reason") == "stopped");
  CHECK_FALSE(exists(run + "/control"));
  const Outcome ended = run_nabla({"status", run});
  CHECK(ended.exit == 0);
  CHECK(ended.says("stopped after"));
  CHECK(run_nabla({"stop", run}).exit == 2);
}

TEST_CASE("a fleet that was started by hand is not scaled, and a dead learner is said to be one") {
  const Runs runs;
  const std::string run = runs.folder("by-hand");
  Process learner(runs.command("learner", "by-hand", {kEndless}));
  Process actor(actor_command(run, "one"));
  REQUIRE(wait_until([&] { return updates_done(run) >= 1; }, kRunDeadline));
  const Outcome refused = run_nabla({"scale", "2", run});
  INFO(refused.output);
  CHECK(refused.exit == 2);
  CHECK(refused.says("started by hand"));
  learner.signal(SIGKILL);
  REQUIRE(wait_until([&] { return learner.ended(); }, kRunDeadline));
  const Outcome dead = run_nabla({"status", run});
  INFO(dead.output);
  CHECK(dead.exit == 4);
  CHECK(dead.says("is gone"));
  CHECK(dead.says("nabla train --resume " + run));
}

TEST_CASE("an actor that was scaled away has left, one that was killed is gone") {
  const Runs runs;
  const std::string run = runs.folder("run");
  Process train(runs.command("train", "run", {kEndless}));
  Process mortal(actor_command(run, "mortal"));
  REQUIRE(wait_until([&] { return updates_done(run) >= 1 && has_actors(run, 3); }, kRunDeadline));
  scale(run, "1");
  mortal.signal(SIGKILL);
  REQUIRE(wait_until([&] { return has_actors(run, 1); }, kRunDeadline));
  const Outcome status = run_nabla({"status", run});
  INFO(status.output);
  const auto line_of = [&](const std::string& id) {
    const std::size_t start = status.output.find("\n  " + id + " ");
    return start == std::string::npos ? "" : status.output.substr(start + 1, status.output.find('\n', start + 1) - start - 1);
  };
  CHECK(line_of("actor-1").find(" left ") != std::string::npos);
  CHECK(line_of("mortal").find(" gone ") != std::string::npos);
}

TEST_CASE("each actor of a run serves its metrics at a port of its own") {
  const Runs runs;
  const std::string run = runs.folder("run");
  const std::uint16_t port = two_free_ports();
  Process train(runs.command("train", "run", {kEndless, "http.actor_bind=127.0.0.1:" + std::to_string(port)}));
  REQUIRE(wait_until([&] { return updates_done(run) >= 1 && has_actors(run, 2); }, kRunDeadline));
  for (const int number : {0, 1}) {
    const HttpResponse metrics =
        call_http("http://127.0.0.1:" + std::to_string(port + number), "GET", "/metrics", std::chrono::seconds(10));
    CHECK(metrics.status == 200);
    CHECK(metrics.body.find("actor=\"actor-" + std::to_string(number) + "\"") != std::string::npos);
  }
  train.signal(SIGTERM);
  const Outcome outcome = train.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
}

TEST_CASE("a learner that was started by hand stops on request, and its actors with it") {
  const Runs runs;
  const std::string run = runs.folder("by-hand");
  Process learner(runs.command("learner", "by-hand", {kEndless}));
  Process actor(actor_command(run, "one"));
  REQUIRE(wait_until([&] { return updates_done(run) >= 1; }, kRunDeadline));
  const Outcome stop = run_nabla({"stop", run});
  INFO(stop.output);
  CHECK(stop.exit == 0);
  CHECK(learner.wait().exit == 0);
  CHECK(actor.wait().exit == 0);
  CHECK(summary_of(run).at("exit_reason") == "stopped");
}

TEST_CASE("a folder that is no run, and a run that never began, are named") {
  const Runs runs;
  CHECK(run_nabla({"status", runs.folder("nothing")}).exit == 2);
  CHECK(run_nabla({"scale", "many"}).exit == 2);
  const Outcome nobody = run_nabla({"stop", reference_run().folder});
  INFO(nobody.output);
  CHECK(nobody.exit == 2);
  CHECK(nobody.says("has ended already"));
}
