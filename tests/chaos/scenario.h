#pragma once

#include "protocol/trajectory_log.h"
#include "tests/chaos/evidence.h"
#include "tests/chaos/proxy.h"
#include "tests/chaos/shape.h"

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nabla::chaos {

// Faults of processes; they come in random order, at exponentially distributed times.
struct ProcessFaults {
  int actor_kills = 0, learner_kills = 0, actor_stops = 0, learner_stops = 0;
  double mean_pause_s = 0.1;  // between two faults
  double stopped_s = 0.5;     // SIGSTOP to SIGCONT
};

// What the way between actors and learner does: `faults` for on_s, then nothing for off_s, `times` times; 0 times: always.
struct LinkPlan {
  LinkFaults faults;
  double on_s = 0, off_s = 0;
  int times = 0;
  bool used = false;
};

enum class Way { kDirect, kProxy, kNamespace };

struct Scenario {
  std::string name, figure, what;  // figure: of the list of reliability figures, A1 ...
  Shape shape = {};
  Durability durability = Durability::kPageCache;
  int actors = 3;
  std::chrono::milliseconds train_time{10};
  std::chrono::milliseconds heartbeat{100};  // three missed ones are a silent end
  ProcessFaults processes = {};
  LinkPlan link = {};
  Way way = Way::kDirect;
  std::string learner_failpoint = {}, actor_failpoint = {};  // of the first process of its kind alone
  bool actor_failpoint_stays = false;                        // of every process that takes the first actor's place, too
  std::string disk_fault = {};                               // of the first learner; ends it unless the product can go on
  bool power_cuts = false;                                   // a learner that is killed takes the machine with it
  bool actors_are_gone = false;                              // all of them die, and come back a second later
  bool liar = false;                                         // the first actor stamps wrong digests
  bool twins = false;                                        // two actors have the same id
  bool foreigner = false;                                    // the first actor speaks another version of the protocol
  bool clock_jumps = false;                                  // everybody's wall clock is a day ahead, then a day behind, ten times a second
  std::vector<int> sizes = {};                               // of the fleet, one after the other; who is too many is asked to leave
  bool same_weights_as_undisturbed = false;                  // lockstep: the published digests equal those of a run without faults
  // What must have happened at least so often, or the run showed nothing; the last update waits for it. The other actors come when `first` has happened.
  Counts must = {}, first = {};
  double deadline_s = 60;
};

// Small forms, for every day; the full ones are the same with more of everything.
enum class Size { kSmall, kFull };
std::vector<Scenario> scenarios(Size size);
// Memory and descriptors of a learner for about so long, while actors are killed and the link fails now and then.
Scenario soak(std::int64_t seconds);
// usage_error naming those that there are.
Scenario scenario_named(const std::string& name, Size size);

}  // namespace nabla::chaos
