#include "common/files.h"
#include "common/json_file.h"
#include "launch/live/fleet_metrics.h"
#include "launch/live/prometheus_text.h"
#include "launch/live/status_json.h"
#include "launch/live/status_text.h"
#include "protocol/fleet_server.h"
#include "tests/testing.h"

#include <limits>
#include <regex>
#include <set>
#include <sstream>

using namespace nabla;

namespace {

// Update 8 of 60 of a fleet of two, of which one is gone.
FleetStatus sample_status() {
  FleetStatus status;
  status.run_id = "20260131-142500-1a2b3c4d";
  status.waiting_for = "update 7: 2 slots outstanding; waiting for actor-0 (ticket 30 for 2 s)";
  status.wall_s = 61.5;
  status.updates_done = 7;
  status.updates_wanted = 60;
  status.newest_version = 7;
  status.last_checkpoint = 6;
  ActorStatus here;
  here.id = "actor-0";
  here.host = "box";
  here.pid = 4321;
  here.connected = true;
  here.heard_s = 0.4;
  here.stage = "sampling";
  here.ticket_id = 30;
  here.version = 7;
  here.records = 31;
  here.stage_seconds = {{"sampling", 20.5}, {"wait_for_ticket", 1.5}};
  ActorStatus gone = here;
  gone.id = "actor-1";
  gone.connected = false;
  gone.gone_because = "not heard of for 3 heartbeats";
  gone.heard_s = 12;
  ActorStatus left = gone;
  left.id = "actor-3";
  left.gone_because = kSaidGoodbye;
  ActorStatus long_gone = gone;
  long_gone.id = "actor-2";
  long_gone.heard_s = 500;
  status.actors = {here, gone, long_gone, left};
  status.tickets = {{30, TicketKind::kSample, 7, 7, 2, 1, {{"actor-0", 2.1, 0.3}}}, {31, TicketKind::kEvaluate, 7, 7, 4, 0, {}}};
  status.lags = {{0, 20}, {1, 10}};
  status.records_per_s = 3.25;
  status.rejects = {{"bad_digest", 2}};
  status.duplicates = 1;
  status.failed_attempts = 3;
  status.queue_slots = 2;
  status.queue_bytes = 3 << 20;
  status.ledger = {.issued = 34, .trained = 28, .outstanding = 4, .discarded = {{"non_finite", 2}}};
  status.messages = {{"bytes_in", 1000}, {"heartbeats", 60}, {"rejected_bad_digest", 2}};
  return status;
}

bool holds(const std::string& text, const std::string& part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text);
  return found;
}

}  // namespace

TEST_CASE("the status as JSON keeps the ledger, the lags and who holds what") {
  const auto json = status_json(sample_status());
  CHECK(json.at("state") == "waiting");
  CHECK(json.at("ledger").at("residual") == 0);
  CHECK(json.at("policy_lag").at("mean") == doctest::Approx(1.0 / 3.0));
  CHECK(json.at("policy_lag").at("max") == 1);
  CHECK(json.at("actors").size() == 4);
  CHECK(json.at("actors").at(3).at("gone_because") == kSaidGoodbye);
  CHECK(json.at("tickets").at(0).at("holders").at(0).at("actor") == "actor-0");
  CHECK(json.at("tickets").at(1).at("kind") == "evaluate");
}

TEST_CASE("the status for people names the update, whom the learner waits for, actors, tickets and the ledger") {
  const nlohmann::ordered_json fleet{
      {"pid", 99}, {"actors_wanted", 2}, {"actors", {{{"id", "actor-1"}, {"state", "ended (signal 9); starts again in 3 s"}}}}};
  const std::string text = status_text(status_json(sample_status()), fleet);
  CHECK(holds(text, "7 of 60 updates"));
  CHECK(holds(text, "last checkpoint before update 6"));
  CHECK(holds(text, "the learner waits: update 7: 2 slots outstanding"));
  CHECK(holds(text, "issued 34 = trained 28 + discarded 2 (non_finite 2) + outstanding 4; residual 0"));
  CHECK(holds(text, "refused records 2 (bad_digest 2); duplicates 1; failed attempts at tickets 3"));
  CHECK(holds(text, "nabla train (process 99) keeps 2 actors"));
  CHECK(holds(text, "actor-1: ended (signal 9); starts again in 3 s"));
  CHECK(holds(text, "4321 on box"));
  CHECK(holds(text, "1 more went earlier"));
  CHECK(holds(text, "actor-0 (2.1 s, progress 0.3 s ago)"));
  CHECK(holds(text, "nobody"));
  CHECK(holds(status_text(status_json(FleetStatus{}), nullptr), "actors are started by hand"));
}

TEST_CASE("the status for people tells an actor that left from one that is gone without a word") {
  const std::string text = status_text(status_json(sample_status()), nullptr);
  const auto line_of = [&](const std::string& id) {
    const std::size_t start = text.find(id + " ");
    return text.substr(start, text.find('\n', start) - start);
  };
  CHECK(holds(line_of("actor-1"), " gone "));
  CHECK(holds(line_of("actor-3"), " left "));
}

TEST_CASE("metrics are in Prometheus' text format, each family once with its help and type") {
  const std::string text = learner_metrics(sample_status());
  CHECK(holds(text, "# TYPE nabla_updates_total counter\nnabla_updates_total{role=\"learner\",rank=\"0\"} 7\n"));
  CHECK(holds(text, "nabla_records_rejected_total{role=\"learner\",rank=\"0\",reason=\"bad_digest\"} 2\n"));
  CHECK(holds(text, "nabla_policy_lag_updates_bucket{role=\"learner\",rank=\"0\",le=\"0\"} 20\n"));
  CHECK(holds(text, "nabla_policy_lag_updates_bucket{role=\"learner\",rank=\"0\",le=\"+Inf\"} 30\n"));
  CHECK(holds(text, "nabla_ledger_residual_slots{role=\"learner\",rank=\"0\"} 0\n"));
  CHECK(holds(text, "nabla_actor_records_total{role=\"learner\",rank=\"0\",actor=\"actor-0\"} 31\n"));
  CHECK(text.find("actor-1") == std::string::npos);  // it is gone
  std::set<std::string> families;
  std::istringstream lines(text);
  std::string family;
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    if (line.starts_with("# HELP ")) {
      family = line.substr(7, line.find(' ', 7) - 7);
      CHECK(family.starts_with("nabla_"));
      CHECK(families.insert(family).second);
    } else if (line.starts_with("# TYPE ")) {
      CHECK(line.substr(7).starts_with(family + " "));
      CHECK(line.ends_with("counter") == family.ends_with("_total"));
    } else {
      CHECK(line.starts_with(family));
    }
  }
}

TEST_CASE("every metric is documented, and the dashboard shows none that is not") {
  Heartbeat heartbeat;
  heartbeat.stage_seconds = {{"sampling", 1.0}};
  heartbeat.counters = {{"actor_unet_forwards", 1}};
  const std::string metrics = learner_metrics(sample_status()) + actor_metrics(heartbeat);
  const std::string root = std::string(NABLA_CONFIGS) + "/..", manual = read_file(root + "/docs/live-runs.md", 1 << 20);
  std::istringstream lines(metrics);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("# TYPE ")) continue;
    const std::string name = line.substr(7, line.find(' ', 7) - 7);
    INFO(name);
    CHECK(manual.find(name) != std::string::npos);
  }
  const std::string dashboard = read_file(root + "/launch/grafana/dashboard.json", 1 << 20);
  const std::regex metric("nabla_[a-z_]+");
  for (auto name = std::sregex_iterator(dashboard.begin(), dashboard.end(), metric); name != std::sregex_iterator(); ++name) {
    INFO(name->str());
    CHECK(metrics.find(name->str()) != std::string::npos);
  }
}

TEST_CASE("label values are escaped, and numbers that are none are written as Prometheus has them") {
  PrometheusText out({});
  out.gauge("nabla_x", "X.", 0.5, {{"name", "a\"b\\c\nd"}});
  out.gauge("nabla_x", "X.", std::numeric_limits<double>::infinity());
  CHECK(out.text() == "# HELP nabla_x X.\n# TYPE nabla_x gauge\nnabla_x{name=\"a\\\"b\\\\c\\nd\"} 0.5\nnabla_x +Inf\n");
}
