#include "tests/fleet/figures.h"

#include "common/clock.h"
#include "launch/live/run_state.h"
#include "tests/fleet/run.h"
#include "tests/testing.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <thread>

namespace nabla {

namespace {

using Json = nlohmann::ordered_json;

// Longer updates than those of the other runs here, so that a pause shows against them.
constexpr std::int64_t kLongUpdateSlots = 32;
const std::vector<std::string> kLongUpdates{kEndless, "fleet.lockstep=false", "training.gradient_accumulation_steps=16"};

double rounded(double value) { return std::round(1000.0 * value) / 1000.0; }

// The learner's answer now; null while there is none.
Json status_now(const std::string& run) {
  RunState state = look_at_run(run);
  return state.life == RunLife::kLive ? std::move(state.status) : Json(nullptr);
}

std::int64_t count_actors(const Json& status, bool with_records) {
  if (status.is_null()) return 0;
  return std::ranges::count_if(status.at("actors"), [&](const Json& actor) {
    return actor.at("connected").get<bool>() && (!with_records || actor.at("records").get<std::int64_t>() > 0);
  });
}

std::int64_t records_in(const Json& status) {
  std::int64_t records = 0;
  for (const Json& actor : status.at("actors")) records += actor.at("records").get<std::int64_t>();
  return records;
}

// Looks at a run and notes when its updates end and its records come.
class Onlooker {
 public:
  explicit Onlooker(std::string run) : run_(std::move(run)) {}

  // Looks until it holds, of the status and the updates that ended since the stretch began.
  template <class Holds>
  Stretch stretch(const std::string& name, std::int64_t actors, Holds holds) {
    const double start = monotonic_seconds();
    Stretch stretch{.name = name, .actors = actors};
    std::vector<double> ends;
    double moved_at = start;
    const bool in_time = wait_until(
        [&] {
          const Json status = status_now(run_);
          if (status.is_null()) return false;
          const double now = monotonic_seconds();
          const std::int64_t updates = status.at("updates").at("done").get<std::int64_t>(), records = records_in(status);
          if (updates > updates_) ends.insert(ends.end(), static_cast<std::size_t>(updates - updates_), now);
          if (updates > updates_ || records > records_) {
            stretch.longest_still_s = std::max(stretch.longest_still_s, now - moved_at);
            moved_at = now;
          }
          updates_ = updates;
          records_ = records;
          return holds(status, std::ssize(ends));
        },
        kRunDeadline);
    REQUIRE(in_time);
    stretch.seconds = monotonic_seconds() - start;
    stretch.longest_still_s = std::max(stretch.longest_still_s, monotonic_seconds() - moved_at);
    stretch.updates = std::ssize(ends);
    std::vector<double> intervals;
    for (std::size_t i = 0; i < ends.size(); ++i) intervals.push_back(ends[i] - (i > 0 ? ends[i - 1] : last_end_.value_or(start)));
    if (!ends.empty()) last_end_ = ends.back();
    stretch.median_update_s = quantile(intervals, 0.5);
    stretch.longest_update_s = quantile(intervals, 1.0);
    return stretch;
  }

 private:
  const std::string run_;
  std::int64_t updates_ = 0, records_ = 0;
  std::optional<double> last_end_;
};

// Slots of trained updates of which the log does not hold exactly one record.
std::int64_t count_lost(const LogContent& log) {
  std::map<std::int64_t, std::int64_t> records;
  for (const auto& record : log.records) ++records[record.slot];
  std::int64_t lost = 0;
  for (const auto& update : log.trained) {
    for (const auto slot : update.slots) lost += records[slot] == 1 ? 0 : 1;
    lost += kLongUpdateSlots - std::ssize(update.slots);
  }
  return lost;
}

void count_end(const std::string& run, ScalingFigures& figures) {
  const Json summary = summary_of(run);
  figures.updates = summary.at("updates").get<std::int64_t>();
  figures.actors_seen = summary.at("actors_seen").get<std::int64_t>();
  figures.residual = summary.at("ledger").at("residual").get<std::int64_t>();
  for (const auto& [reason, slots] : summary.at("ledger").at("discarded").items()) figures.discarded += slots.get<std::int64_t>();
  figures.failed_attempts = summary.at("counters").at("failed_attempts").get<std::int64_t>();
  figures.duplicates = summary.at("counters").at("duplicates").get<std::int64_t>();
  figures.lost_slots = count_lost(read_log(run + "/queue/rank-0"));
}

Json actor_in(const Json& status, const std::string& id) {
  if (status.is_null()) return nullptr;
  for (const Json& actor : status.at("actors")) {
    if (actor.at("id") == id) return actor;
  }
  return nullptr;
}

// The tickets that an actor holds.
std::set<std::uint64_t> tickets_of(const Json& status, const std::string& id) {
  std::set<std::uint64_t> tickets;
  if (status.is_null()) return tickets;
  for (const Json& ticket : status.at("tickets")) {
    for (const Json& holder : ticket.at("holders")) {
      if (holder.at("actor") == id) tickets.insert(ticket.at("id").get<std::uint64_t>());
    }
  }
  return tickets;
}

// Whether the ticket is done, or somebody holds it who is not `id`.
bool is_taken_over(const Json& status, std::uint64_t ticket_id, const std::string& id) {
  for (const Json& ticket : status.at("tickets")) {
    if (ticket.at("id") != ticket_id) continue;
    return std::ranges::any_of(ticket.at("holders"), [&](const Json& holder) { return holder.at("actor") != id; });
  }
  return true;
}

}  // namespace

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(std::lround(share * static_cast<double>(values.size() - 1)))];
}

ScalingFigures measure_scaling(const std::vector<std::int64_t>& steps, std::int64_t updates_each) {
  const Runs runs;
  const std::string run = runs.folder("scaled");
  std::vector<std::string> settings = kLongUpdates;
  settings.push_back("actors.count=" + std::to_string(steps.front()));
  Process train(runs.command("train", "scaled", settings));
  REQUIRE(wait_until([&] { return updates_done(run) >= 2; }, kRunDeadline));
  ScalingFigures figures{.steps = steps, .stretches = {}, .slots_per_update = kLongUpdateSlots};
  Onlooker onlooker(run);
  onlooker.stretch("", steps.front(), [](const Json&, std::int64_t) { return true; });  // where it stands
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const std::string actors = std::to_string(steps[i]);
    if (i > 0) {
      Process order(nabla_command({"scale", actors, run}));
      const std::string way = "from " + std::to_string(steps[i - 1]) + " to " + actors;
      figures.stretches.push_back(onlooker.stretch(way, steps[i], [&](const Json& status, std::int64_t updates) {
        return updates >= 2 && count_actors(status, true) == steps[i] && count_actors(status, false) == steps[i];
      }));
      const Outcome ordered = order.wait();
      INFO(ordered.output);
      REQUIRE(ordered.exit == 0);
    }
    figures.stretches.push_back(
        onlooker.stretch("at " + actors, steps[i], [&](const Json&, std::int64_t updates) { return updates >= updates_each; }));
  }
  CHECK(run_nabla({"stop", run}).exit == 0);
  const Outcome outcome = train.wait();
  INFO(outcome.output);
  CHECK(outcome.exit == 0);
  figures.restarted = outcome.says("starting it again") ? 1 : 0;
  count_end(run, figures);
  return figures;
}

DeathFigures measure_death(int signal) {
  const Runs runs;
  const std::string run = runs.folder("run");
  Process learner(
      runs.command("learner", "run", {kEndless, "fleet.ticket_size=2", "sampling.num_steps=40", "model.timestep_fraction=0.05"}));
  Process mortal(actor_command(run, "mortal")), other(actor_command(run, "other"));
  REQUIRE(wait_until([&] { return updates_done(run) >= 1 && count_actors(status_now(run), true) == 2; }, kRunDeadline));
  // Stopped first, so that what it holds does not change while that is looked up.
  std::set<std::uint64_t> held;
  REQUIRE(wait_until(
      [&] {
        mortal.signal(SIGSTOP);
        std::this_thread::sleep_for(std::chrono::milliseconds(20));  // what it had sent arrives
        held = tickets_of(status_now(run), "mortal");
        if (held.empty()) mortal.signal(SIGCONT);
        return !held.empty();
      },
      kRunDeadline));
  const double start = monotonic_seconds();
  if (signal != SIGSTOP) mortal.signal(signal);
  DeathFigures figures;
  REQUIRE(wait_until(
      [&] {
        const Json status = status_now(run), actor = actor_in(status, "mortal");
        if (actor.is_null()) return false;
        const double seconds = monotonic_seconds() - start;
        if (figures.noticed_s == 0 && !actor.at("connected").get<bool>()) figures.noticed_s = seconds;
        const bool taken = std::ranges::all_of(held, [&](auto ticket) { return is_taken_over(status, ticket, "mortal"); });
        if (figures.reissued_s == 0 && taken) figures.reissued_s = seconds;
        return figures.noticed_s > 0 && figures.reissued_s > 0;
      },
      kRunDeadline));
  mortal.signal(SIGKILL);
  return figures;
}

ReplacementFigures measure_replacement() {
  const Runs runs;
  const std::string run = runs.folder("run");
  Process learner(runs.command("learner", "run", {kEndless}));
  Process first(actor_command(run, "first"));
  REQUIRE(wait_until([&] { return updates_done(run) >= 1; }, kRunDeadline));
  const double start = monotonic_seconds();
  Process second(actor_command(run, "second"));
  ReplacementFigures figures;
  REQUIRE(wait_until(
      [&] {
        const Json actor = actor_in(status_now(run), "second");
        if (actor.is_null() || actor.at("records").get<std::int64_t>() == 0) return false;
        figures.first_record_s = monotonic_seconds() - start;
        figures.loading_s = actor.at("stage_seconds").value("loading", 0.0);
        return true;
      },
      kRunDeadline));
  return figures;
}

Json measurement_heading() {
  std::ifstream info("/proc/cpuinfo");
  std::string line, model = "unknown";
  while (model == "unknown" && std::getline(info, line)) {
    if (line.starts_with("model name")) model = line.substr(line.find(':') + 2);
  }
  std::array<double, 1> load{};
  getloadavg(load.data(), 1);
  const std::time_t now = std::time(nullptr);
  std::array<char, 32> date{};
  std::strftime(date.data(), date.size(), "%Y-%m-%d", std::gmtime(&now));
  return {{"date", date.data()},
          {"machine", {{"cpu", model}, {"cores", std::thread::hardware_concurrency()}, {"load_before", rounded(load[0])}}}};
}

Json json_of(const ScalingFigures& figures) {
  Json stretches = Json::array();
  for (const Stretch& stretch : figures.stretches) {
    stretches.push_back({{"stretch", stretch.name},
                         {"seconds", rounded(stretch.seconds)},
                         {"updates", stretch.updates},
                         {"median_update_s", rounded(stretch.median_update_s)},
                         {"longest_update_s", rounded(stretch.longest_update_s)},
                         {"longest_still_s", rounded(stretch.longest_still_s)}});
  }
  return {{"actors", figures.steps},
          {"slots_per_update", figures.slots_per_update},
          {"stretches", stretches},
          {"updates", figures.updates},
          {"actors_seen", figures.actors_seen},
          {"ledger_residual_slots", figures.residual},
          {"discarded_slots", figures.discarded},
          {"lost_slots", figures.lost_slots},
          {"failed_attempts", figures.failed_attempts},
          {"duplicates", figures.duplicates}};
}

}  // namespace nabla
