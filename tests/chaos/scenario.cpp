#include "tests/chaos/scenario.h"

#include "common/error.h"
#include "common/failpoint.h"
#include "common/nearest.h"

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

// A1 and A5: whatever is killed, the books close and the weights are the undisturbed run's.
void add_process_faults(std::vector<Scenario>& all, bool full) {
  all.push_back({.name = "undisturbed", .figure = "-", .what = "no fault: the control", .shape = strict(full ? 10'000 : 400)});
  all.push_back({.name = "kills",
                 .figure = "A1",
                 .what = "SIGKILL of random actors at random times",
                 .shape = loose(full ? 10'000 : 800),
                 .actors = 4,
                 .train_time = milliseconds(full ? 80 : 20),
                 .processes = {.actor_kills = full ? 210 : 16, .mean_pause_s = full ? 0.1 : 0.05},
                 .deadline_s = full ? 300.0 : 60.0});
  all.push_back({.name = "kills_with_learner",
                 .figure = "A1 A3 A6",
                 .what = "SIGKILL of random actors and of the learner, which starts again; partitions",
                 .shape = loose(full ? 10'000 : 800),
                 .actors = 4,
                 .train_time = milliseconds(full ? 80 : 20),
                 .processes = {.actor_kills = full ? 190 : 8, .learner_kills = full ? 20 : 3, .mean_pause_s = 0.1},
                 .link = now_and_then({.down = true}, full ? 0.5 : 0.3, full ? 2.0 : 0.5, full ? 10 : 1),
                 .way = Way::kProxy,
                 .deadline_s = full ? 400.0 : 60.0});
  all.push_back({.name = "kills_in_lockstep",
                 .figure = "A5",
                 .what = "the same in lockstep: every published digest equals the undisturbed run's",
                 .shape = strict(full ? 4'000 : 400),
                 .train_time = milliseconds(20),
                 .processes = {.actor_kills = full ? 60 : 8, .learner_kills = full ? 10 : 2, .mean_pause_s = 0.1},
                 .same_weights_as_undisturbed = true,
                 .deadline_s = full ? 300.0 : 60.0});
  all.push_back(
      {.name = "frozen",
       .figure = "B2",
       .what = "SIGSTOP and SIGCONT of actors and of the learner: late records are never trained twice",
       .shape = loose(full ? 2'000 : 400),
       .processes = {.actor_stops = full ? 12 : 3, .learner_stops = full ? 2 : 1, .mean_pause_s = 0.2, .stopped_s = full ? 30.0 : 0.8},
       .deadline_s = full ? 500.0 : 60.0});
  // One actor, whose every process gives its first ticket back: nobody else can have that ticket too, so its slots are discarded.
  Scenario discards{.name = "kills_with_discards",
                    .figure = "A1",
                    .what = "a ticket that fails once is given up: its slots are discarded, and the books close all the same",
                    .shape = loose(full ? 4'000 : 400),
                    .actors = 1,
                    .train_time = milliseconds(20),
                    .processes = {.actor_kills = full ? 60 : 10, .mean_pause_s = 0.05},
                    .actor_failpoint = "actor.mid_swap:1:error",
                    .actor_failpoint_stays = true};
  discards.shape.max_attempts = 1;
  discards.shape.max_discard_share = 1;
  all.push_back(discards);
  Scenario late{.name = "late_records",
                .figure = "B2 B10",
                .what = "an actor delivers a ticket long after others were given it",
                .shape = loose(400),
                .train_time = milliseconds(200),
                .actor_failpoint = "actor.before_delivery:3:delay:1500"};
  late.shape.ticket_timeout_s = 0.4;
  all.push_back(late);
  all.push_back({.name = "all_actors_gone",
                 .figure = "B12",
                 .what = "every actor is killed and comes back a second later",
                 .shape = strict(400),
                 .train_time = milliseconds(50),
                 .actors_are_gone = true});
  all.push_back({.name = "twins", .figure = "B10", .what = "two actors have the same id", .shape = loose(400), .twins = true});
  all.push_back(
      {.name = "liar", .figure = "F1 F2", .what = "an actor stamps digests that no weights have", .shape = loose(400), .liar = true});
}

void add_link(std::vector<Scenario>& all, const std::string& name, const std::string& figure, const std::string& what, const LinkPlan& link,
              std::int64_t slots, double deadline_s = 60) {
  all.push_back(
      {.name = name, .figure = figure, .what = what, .shape = loose(slots), .link = link, .way = Way::kProxy, .deadline_s = deadline_s});
}

void add_link_faults(std::vector<Scenario>& all, bool full) {
  const int times = full ? 3 : 1;
  const std::size_t first = all.size();
  add_link(all, "slow_link", "B4", "50 ms a buffer each way", always({.delay = milliseconds(full ? 50 : 20)}), full ? 800 : 200);
  add_link(all, "very_slow_link", "B4", "500 ms a buffer each way", always({.delay = milliseconds(full ? 500 : 100)}), 80, 300);
  add_link(all, "narrow_link", "B4", "1 Mbit/s", always({.bytes_per_s = full ? 125'000 : 500'000}), full ? 400 : 200, 120);
  // A slow link is no dead one.
  for (std::size_t i = first; i < all.size(); ++i) all[i].heartbeat = milliseconds(full ? 1000 : 300);
  add_link(all, "resets", "B4", "connections are reset in the middle of frames", always({.reset_every = full ? 100'000 : 150'000}),
           full ? 2'000 : 400, 200);
  add_link(all, "bit_flips", "B5", "bits flip on the way: none of it is trained", always({.flip_every = full ? 40'000 : 60'000}),
           full ? 2'000 : 400, 300);
  add_link(all, "black_hole_up", "B3", "what actors send is lost, answers would pass",
           now_and_then({.swallow_up = true}, full ? 10 : 0.8, 0.5, times), full ? 2'000 : 400, 200);
  add_link(all, "black_hole_down", "B3", "what the learner answers is lost",
           now_and_then({.swallow_down = true}, full ? 10 : 0.8, 0.5, times), full ? 2'000 : 400, 200);
  add_link(all, "partition", "B3", "nothing passes",
           now_and_then({.swallow_up = true, .swallow_down = true, .down = true}, full ? 10 : 1, 1, times), full ? 2'000 : 400, 200);
  add_link(all, "flapping_link", "B3", "the link goes down and up, 1 Hz",
           now_and_then({.down = true}, full ? 0.5 : 0.2, full ? 0.5 : 0.2, full ? 60 : 4), full ? 4'000 : 400, 200);
  Scenario names = {.name = "namespace_partition",
                    .figure = "B3",
                    .what = "the actors' network namespace loses its cable",
                    .shape = loose(full ? 2'000 : 400)};
  names.link = now_and_then({.down = true}, full ? 10 : 1, 1, times);
  names.way = Way::kNamespace;
  names.deadline_s = 200;
  all.push_back(names);
}

// B6 and A4.
void add_disk_faults(std::vector<Scenario>& all, bool full) {
  const auto add = [&](const std::string& name, const std::string& what, const std::string& fault, Durability durability) {
    all.push_back({.name = name, .figure = "B6", .what = what, .shape = loose(400), .durability = durability, .disk_fault = fault});
  };
  add("disk_full", "no space is left: the learner ends, and goes on when there is", "full:700000", Durability::kPageCache);
  add("disk_full_synced", "the same with every group synced", "full:500000", Durability::kFsync);
  add("write_error", "a write fails with EIO: it goes to a new segment", "write_error:25", Durability::kPageCache);
  add("short_writes", "no write takes more than 1000 bytes", "short:1000", Durability::kPageCache);
  add("sync_error", "a sync fails with EIO: never tried again on the same file", "sync_error:12", Durability::kFsync);
  Scenario power{.name = "power_cuts",
                 .figure = "A4",
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
  for (const std::string_view place : failpoint_names()) {
    const std::string name(place);
    const bool of_actor = name.starts_with("actor.");
    Scenario scenario{.name = "failpoint:" + name,
                      .figure = of_actor ? "B1" : "A2 A3",
                      .what = std::string(of_actor ? "an actor" : "the learner") + " is killed at this place",
                      .shape = loose(400),
                      .durability = Durability::kFsync};
    (of_actor ? scenario.actor_failpoint : scenario.learner_failpoint) = name;
    all.push_back(scenario);
  }
}

}  // namespace

std::vector<Scenario> scenarios(Size size) {
  std::vector<Scenario> all;
  add_process_faults(all, size == Size::kFull);
  add_link_faults(all, size == Size::kFull);
  add_disk_faults(all, size == Size::kFull);
  add_failpoints(all);
  return all;
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
