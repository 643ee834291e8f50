// Figures E1, E2 and E7 of the reliability figures: short forms, and full ones that write their numbers into the working folder:
//   fleet_tests --no-skip -tc="full form*"
#include "tests/fleet/figures.h"

#include "common/json_file.h"
#include "tests/fleet/process.h"
#include "tests/testing.h"

#include <algorithm>
#include <csignal>
#include <cstdio>

using namespace nabla;

namespace {

using Json = nlohmann::ordered_json;

constexpr double kDeathNoticed_s = 3.5, kReplaced_s = 2.0;
constexpr int kTimes = 50;

// Beside other work the looking, and the loading of a binary, take their time.
bool is_within(double seconds, double limit) { return seconds <= limit || seconds < limit / 0.6 * run_nabla({"version"}).seconds; }

void check_nothing_lost(const ScalingFigures& figures) {
  CHECK(figures.residual == 0);
  CHECK(figures.discarded == 0);
  CHECK(figures.lost_slots == 0);
  CHECK(figures.failed_attempts == 0);  // who left had finished its ticket
  CHECK(figures.restarted == 0);
  CHECK(figures.actors_seen == *std::ranges::max_element(figures.steps));
}

// Training paused for no more than one update if never so long passed without a record or the end of an update.
void check_no_pause(const ScalingFigures& figures) {
  for (const Stretch& stretch : figures.stretches) {
    INFO(stretch.name, ": ", stretch.updates, " updates, median ", stretch.median_update_s, " s, longest ", stretch.longest_update_s,
         " s, still ", stretch.longest_still_s, " s");
    CHECK(stretch.updates >= 2);
    CHECK(is_within(stretch.longest_still_s, stretch.median_update_s));
  }
}

void show(const Json& json) { std::printf("%s\n", json.dump(2).c_str()); }

Json spread_json(const std::vector<double>& seconds) {
  return {{"p50_s", quantile(seconds, 0.5)}, {"p99_s", quantile(seconds, 0.99)}, {"longest_s", quantile(seconds, 1.0)}};
}

}  // namespace

TEST_CASE("scaling from 1 to 6 to 2 actors stops training for less than an update and loses nothing") {
  const ScalingFigures figures = measure_scaling({1, 6, 2}, 3);
  INFO(json_of(figures).dump(2));
  check_nothing_lost(figures);
  check_no_pause(figures);
}

TEST_CASE("the ticket of an actor that is killed or frozen is another's within 3.5 s") {
  for (const int signal : {SIGKILL, SIGSTOP}) {
    const DeathFigures figures = measure_death(signal);
    INFO("signal ", signal, ": noticed after ", figures.noticed_s, " s, reissued after ", figures.reissued_s, " s");
    CHECK(is_within(figures.noticed_s, kDeathNoticed_s));
    CHECK(is_within(figures.reissued_s, kDeathNoticed_s));
  }
}

TEST_CASE("a new actor delivers its first record within 2 s, loading the model aside") {
  const ReplacementFigures figures = measure_replacement();
  INFO("first record after ", figures.first_record_s, " s, of which loading ", figures.loading_s, " s");
  CHECK(figures.loading_s > 0);
  CHECK(is_within(figures.first_record_s - figures.loading_s, kReplaced_s));
}

TEST_CASE("full form: scaling from 1 to 16 to 4 actors" * doctest::skip()) {
  Json json = measurement_heading();
  json["command"] = "fleet_tests --no-skip -tc=\"full form: scaling*\"";
  const ScalingFigures figures = measure_scaling({1, 16, 4}, 10);
  json.update(json_of(figures));
  show(json);
  write_json("scaling_actors.json", json);
  check_nothing_lost(figures);
  check_no_pause(figures);
}

TEST_CASE("full form: dead and new actors, 50 of each" * doctest::skip()) {
  Json json = measurement_heading();
  json["command"] = "fleet_tests --no-skip -tc=\"full form: dead*\"";
  json["times"] = kTimes;
  json["targets"] = {{"noticed_s", kDeathNoticed_s}, {"reissued_s", kDeathNoticed_s}, {"first_record_without_loading_s", kReplaced_s}};
  for (const auto& [name, signal] : {std::pair("killed", SIGKILL), std::pair("frozen", SIGSTOP)}) {
    std::vector<double> noticed, reissued;
    for (int i = 0; i < kTimes; ++i) {
      const DeathFigures figures = measure_death(signal);
      noticed.push_back(figures.noticed_s);
      reissued.push_back(figures.reissued_s);
    }
    json[name] = {{"noticed", spread_json(noticed)}, {"reissued", spread_json(reissued)}};
    CHECK(quantile(noticed, 0.5) <= kDeathNoticed_s);
  }
  std::vector<double> without_loading, loading;
  for (int i = 0; i < kTimes; ++i) {
    const ReplacementFigures figures = measure_replacement();
    without_loading.push_back(figures.first_record_s - figures.loading_s);
    loading.push_back(figures.loading_s);
  }
  json["new_actor"] = {{"first_record_without_loading", spread_json(without_loading)}, {"loading", spread_json(loading)}};
  show(json);
  write_json("actor_recovery.json", json);
}
