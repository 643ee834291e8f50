#include "tests/chaos/scenario.h"

#include "common/error.h"
#include "common/failpoint.h"
#include "common/nearest.h"

#include <algorithm>
#include <utility>

namespace nabla::chaos {

namespace {

using std::chrono::milliseconds;

// Lets admission run ahead, so that late records and doubled tickets happen.
Shape loose(std::int64_t slots) {
  Shape shape;
  shape.slots = slots;
  shape.lockstep = false;
  shape.max_policy_lag = 3;
  return shape;
}

Shape strict(std::int64_t slots) {
  Shape shape;
  shape.slots = slots;
  return shape;
}

LinkPlan always(const LinkFaults& faults) { return {.faults = faults, .used = true}; }
LinkPlan now_and_then(const LinkFaults& faults, double on_s, double off_s, int times) {
  return {.faults = faults, .on_s = on_s, .off_s = off_s, .times = times, .used = true};
}

// What is done to processes is counted by whom it was done.
Scenario with_counts(Scenario scenario) {
  const ProcessFaults& faults = scenario.processes;
  if (const int kills = faults.actor_kills + faults.learner_kills; kills > 0) scenario.must["kills"] = kills;
  if (faults.actor_kills > 0) scenario.must["kills_at_work"] = 1;
  if (faults.learner_kills > 0) scenario.must["learner_starts"] = 1 + faults.learner_kills;
  if (faults.actor_stops + faults.learner_stops > 0) scenario.must["stops"] = faults.actor_stops + faults.learner_stops;
  if (faults.actor_stops > 0) scenario.must["silent_ends"] = 1;
  if (scenario.power_cuts) scenario.must["power_cuts"] = faults.learner_kills;
  if (!scenario.disk_fault.empty()) scenario.must["disk_faults"] = 1;
  if (scenario.disk_fault.starts_with("full")) scenario.must["learner_starts"] = 2;
  if (scenario.link.times > 0) scenario.must["partitions"] = scenario.link.times;
  return scenario;
}

// A1 and A5: whatever is killed, the books close and the weights are the undisturbed run's.
void add_kills(std::vector<Scenario>& all, bool full) {
  all.push_back({.name = "undisturbed", .figure = "-", .what = "no fault: the control", .shape = strict(full ? 10'000 : 400)});
  all.push_back({.name = "kills",
                 .figure = "A1",
                 .what = "SIGKILL of random actors at random times",
                 .shape = loose(full ? 10'000 : 800),
                 .actors = 4,
                 .train_time = milliseconds(20),
                 .processes = {.actor_kills = full ? 210 : 16, .mean_pause_s = full ? 0.1 : 0.05}});
  all.push_back({.name = "kills_with_learner",
                 .figure = "A1 A3 A6",
                 .what = "SIGKILL of random actors and of the learner, which starts again; partitions",
                 .shape = loose(full ? 10'000 : 800),
                 .actors = 4,
                 .train_time = milliseconds(20),
                 .processes = {.actor_kills = full ? 190 : 8, .learner_kills = full ? 20 : 3, .mean_pause_s = 0.1},
                 .link = now_and_then({.down = true}, full ? 0.5 : 0.3, full ? 2.0 : 0.5, full ? 10 : 1),
                 .way = Way::kProxy});
  all.push_back({.name = "kills_in_lockstep",
                 .figure = "A5",
                 .what = "the same in lockstep: every published digest equals the undisturbed run's",
                 .shape = strict(full ? 4'000 : 400),
                 .train_time = milliseconds(20),
                 .processes = {.actor_kills = full ? 60 : 8, .learner_kills = full ? 10 : 2, .mean_pause_s = 0.1},
                 .same_weights_as_undisturbed = true});
  // One actor, whose every process gives its first ticket back: nobody else can have that ticket too, so its slots are discarded.
  Scenario discards{.name = "kills_with_discards",
                    .figure = "A1",
                    .what = "a ticket that fails once is given up: its slots are discarded, and the books close all the same",
                    .shape = loose(full ? 4'000 : 400),
                    .actors = 1,
                    .train_time = milliseconds(20),
                    .processes = {.actor_kills = full ? 60 : 10, .mean_pause_s = 0.05},
                    .actor_failpoint = "actor.mid_swap:1:error",
                    .actor_failpoint_stays = true,
                    .must = {{"discarded", 8}}};
  discards.shape.max_attempts = 1;
  discards.shape.max_discard_share = 1;
  all.push_back(discards);
}

// B2, B10 to B12 and E7: processes that come, go, sleep, or are not what they should be.
void add_odd_processes(std::vector<Scenario>& all, bool full) {
  all.push_back({.name = "frozen",
                 .figure = "B2",
                 .what = "SIGSTOP and SIGCONT of actors and of the learner: late records are never trained twice",
                 .shape = loose(full ? 2'000 : 400),
                 .processes = {.actor_stops = 3, .learner_stops = 1, .mean_pause_s = 0.2, .stopped_s = full ? 30.0 : 0.8},
                 .deadline_s = full ? 500.0 : 60.0});
  Scenario late{.name = "late_records",
                .figure = "B2 B10",
                .what = "an actor delivers a ticket long after others were given it",
                .shape = loose(400),
                .train_time = milliseconds(50),
                .actor_failpoint = "actor.before_delivery:1:delay:1500",
                .must = {{"duplicates", 1}},
                .first = {{"failpoints_met", 1}}};
  late.shape.ticket_timeout_s = 0.4;
  all.push_back(late);
  all.push_back({.name = "all_actors_gone",
                 .figure = "B12",
                 .what = "every actor is killed and comes back a second later",
                 .shape = strict(400),
                 .actors_are_gone = true,
                 .must = {{"kills", 3}, {"silent_ends", 1}}});
  all.push_back({.name = "scaled",
                 .figure = "E7",
                 .what = "1 actor, then 16, then 4: who is too many is asked to leave",
                 .shape = loose(full ? 8'000 : 1'600),
                 .sizes = {1, 16, 4},
                 .must = {{"scalings", 2}, {"left", 12}}});
  all.push_back({.name = "twins",
                 .figure = "B10",
                 .what = "two actors have the same id",
                 .shape = loose(400),
                 .twins = true,
                 .must = {{"turned_out", 1}}});
  all.push_back({.name = "clock_jumps",
                 .figure = "B10",
                 .what = "everybody's wall clock is a day ahead, then a day behind, ten times a second",
                 .shape = loose(full ? 4'000 : 400),
                 .train_time = milliseconds(50),
                 .clock_jumps = true,
                 .must = {{"clock_reads", 4}}});
  all.push_back({.name = "other_protocol",
                 .figure = "B11",
                 .what = "an actor speaks another version of the protocol: it is refused by name, the others go on",
                 .shape = loose(400),
                 .foreigner = true,
                 .must = {{"refused_hellos", 1}, {"turned_out", 1}}});
  all.push_back({.name = "liar",
                 .figure = "F1 F2",
                 .what = "an actor stamps digests that no weights have",
                 .shape = loose(400),
                 .liar = true,
                 .must = {{"refused", 1}},
                 .first = {{"refused", 1}}});
}

void add_link(std::vector<Scenario>& all, const std::string& name, const std::string& figure, const std::string& what, const LinkPlan& link,
              std::int64_t slots, const Counts& must, double deadline_s = 60) {
  all.push_back({.name = name,
                 .figure = figure,
                 .what = what,
                 .shape = loose(slots),
                 .link = link,
                 .way = Way::kProxy,
                 .must = must,
                 .deadline_s = deadline_s});
}

void add_bad_links(std::vector<Scenario>& all, bool full) {
  const std::size_t first = all.size();
  add_link(all, "slow_link", "B4", "50 ms a buffer each way", always({.delay = milliseconds(full ? 50 : 20)}), full ? 800 : 200,
           {{"held_buffers", 100}}, 120);
  add_link(all, "very_slow_link", "B4", "500 ms a buffer each way", always({.delay = milliseconds(full ? 500 : 100)}), 80,
           {{"held_buffers", 50}}, 300);
  add_link(all, "narrow_link", "B4", "1 Mbit/s", always({.bytes_per_s = full ? 125'000 : 500'000}), full ? 400 : 200,
           {{"held_buffers", 100}}, 120);
  // A slow link is no dead one.
  for (std::size_t i = first; i < all.size(); ++i) all[i].heartbeat = milliseconds(full ? 1000 : 300);
  add_link(all, "resets", "B4", "connections are reset in the middle of frames", always({.reset_every = full ? 100'000 : 150'000}),
           full ? 2'000 : 400, {{"resets", 2}}, 200);
  add_link(all, "bit_flips", "B5", "bits flip on the way: none of it is trained", always({.flip_every = full ? 40'000 : 60'000}),
           full ? 2'000 : 400, {{"bit_flips", 10}}, 300);
}

void add_cut_links(std::vector<Scenario>& all, bool full) {
  const int times = full ? 3 : 1;
  const std::size_t first = all.size();
  const double between = full ? 6 : 0.6;  // everybody is back by then
  add_link(all, "black_hole_up", "B3 E5", "what actors send is lost, answers would pass",
           now_and_then({.swallow_up = true}, full ? 10 : 0.8, between, times), full ? 2'000 : 400,
           {{"swallowed_bytes", 1}, {"silent_ends", 1}}, 200);
  add_link(all, "black_hole_down", "B3 E5", "what the learner answers is lost",
           now_and_then({.swallow_down = true}, full ? 10 : 0.8, between, times), full ? 2'000 : 400, {{"swallowed_bytes", 1}}, 200);
  add_link(all, "partition", "B3 E5", "nothing passes",
           now_and_then({.swallow_up = true, .swallow_down = true, .down = true}, full ? 10 : 1, between, times), full ? 2'000 : 400,
           {{"held_buffers", 1}, {"silent_ends", 1}}, 200);
  if (full)
    add_link(all, "long_partition", "B3 E5", "nothing passes for a minute",
             now_and_then({.swallow_up = true, .swallow_down = true, .down = true}, 60, 1, 1), 400,
             {{"held_buffers", 1}, {"silent_ends", 1}}, 300);
  Scenario names = {.name = "namespace_partition",
                    .figure = "B3 E5",
                    .what = "the actors' network namespace loses its cable",
                    .shape = loose(full ? 2'000 : 400),
                    .must = {{"silent_ends", 1}}};
  names.link = now_and_then({.down = true}, full ? 10 : 1, between, times);
  names.way = Way::kNamespace;
  names.deadline_s = 200;
  all.push_back(names);
  // How soon they are back is told of the product's own heartbeats.
  for (std::size_t i = first; full && i < all.size(); ++i) all[i].heartbeat = milliseconds(1000);
  add_link(all, "flapping_link", "B3", "the link goes down and up, 1 Hz",
           now_and_then({.down = true}, full ? 0.5 : 0.2, full ? 0.5 : 0.2, full ? 60 : 4), full ? 4'000 : 400, {{"held_buffers", 1}}, 200);
}

// B6 and A4.
void add_disk_faults(std::vector<Scenario>& all, bool full) {
  const auto add = [&](const std::string& name, const std::string& what, const std::string& fault, Durability durability) {
    all.push_back({.name = name, .figure = "B6", .what = what, .shape = loose(400), .durability = durability, .disk_fault = fault});
  };
  add("disk_full", "no space is left: the learner ends, and goes on when there is", "full:700000", Durability::kPageCache);
  add("disk_full_synced", "the same with every group synced", "full:500000", Durability::kFsync);
  add("write_error", "a write fails with EIO: it goes to a new segment", "write_error:20", Durability::kPageCache);
  add("short_writes", "no write takes more than 1000 bytes", "short:1000", Durability::kPageCache);
  add("sync_error", "a sync fails with EIO: never tried again on the same file", "sync_error:12", Durability::kFsync);
  Scenario power{.name = "power_cuts",
                 .figure = "A4 E3",
                 .what = "the learner's machine loses its power; every group is synced",
                 .shape = loose(full ? 2'000 : 400),
                 .durability = Durability::kFsync,
                 .train_time = milliseconds(20),
                 .processes = {.learner_kills = full ? 20 : 3, .mean_pause_s = 0.3},
                 .power_cuts = true,
                 .deadline_s = 200};
  all.push_back(power);
  power.name = "power_cut_after_sync_error";
  power.what = "a sync fails, later the power";
  power.disk_fault = "sync_error:12";
  power.processes.learner_kills = 1;
  power.processes.mean_pause_s = 0.6;
  all.push_back(power);
}

// A2, A3 and B1: each place once; the learner and the actor that reach it die there.
void add_failpoints(std::vector<Scenario>& all) {
  for (const std::string_view place : failpoint_names(FailpointHost::kChaos)) {
    const std::string name(place);
    const bool of_actor = name.starts_with("actor.");
    Scenario scenario{.name = "failpoint:" + name,
                      .figure = of_actor ? "B1" : "A2 A3 E3",
                      .what = std::string(of_actor ? "an actor" : "the learner") + " is killed at this place",
                      .shape = loose(400),
                      .durability = Durability::kFsync};
    (of_actor ? scenario.actor_failpoint : scenario.learner_failpoint) = name;
    // Alone, so that it gets there.
    if (of_actor) scenario.must = scenario.first = {{"failpoints_met", 1}};
    if (!of_actor) scenario.must = {{"failpoints_met", 1}, {"learner_starts", 2}};
    all.push_back(scenario);
  }
}

}  // namespace

std::vector<Scenario> scenarios(Size size) {
  std::vector<Scenario> all;
  add_kills(all, size == Size::kFull);
  add_odd_processes(all, size == Size::kFull);
  add_bad_links(all, size == Size::kFull);
  add_cut_links(all, size == Size::kFull);
  add_disk_faults(all, size == Size::kFull);
  add_failpoints(all);
  std::ranges::transform(all, all.begin(), with_counts);
  // Long ones may take long on a machine that others use; what does nothing at all is found sooner.
  constexpr double kFullDeadlineS = 600;
  for (Scenario& scenario : all)
    if (size == Size::kFull) scenario.deadline_s = std::max(scenario.deadline_s, kFullDeadlineS);
  return all;
}

Scenario soak(std::int64_t seconds) {
  Scenario scenario{.name = "soak",
                    .figure = "D7",
                    .what = "actors are killed and the link fails now and then: the learner's memory and descriptors stay",
                    .train_time = milliseconds(500),
                    .processes = {.actor_kills = static_cast<int>(seconds / 3), .mean_pause_s = 3},
                    .link = now_and_then({.down = true}, 0.5, 20, static_cast<int>(seconds / 25)),
                    .way = Way::kProxy};
  scenario.shape.slots_per_update = scenario.shape.ticket_size = 8;
  scenario.shape.slots = seconds * 16;  // two updates a second: training sets the pace on a busy machine too
  scenario.deadline_s = 3.0 * static_cast<double>(seconds) + 60;
  return with_counts(scenario);
}

Scenario scenario_named(const std::string& name, Size size) {
  std::vector<std::string> names;
  for (const Scenario& scenario : scenarios(size)) {
    if (scenario.name == name) return scenario;
    names.push_back(scenario.name);
  }
  throw usage_error("[chaos] there is no scenario '{}'; did you mean '{}'? (there are: {})", name, nearest(name, names), comma_list(names));
}

}  // namespace nabla::chaos
