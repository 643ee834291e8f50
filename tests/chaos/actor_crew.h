#pragma once

#include "launch/child_process.h"
#include "tests/chaos/chaos_run.h"
#include "tests/chaos/fault_schedule.h"
#include "tests/chaos/faulty_link.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace nabla::chaos {

// The actors of a run: starts whoever is missing, and does to them what befalls them. Borrows all that it is made of. Times are seconds since the run began.
class ActorCrew {
 public:
  // Counts what it does, and how processes end, in `counts`.
  ActorCrew(const Scenario& scenario, const ChaosOptions& options, const FaultyLink& link, Counts& counts);

  // Continues, notices ends, starts. `others_wait`: none but the first is started yet.
  void look_after(double now_s, bool others_wait);
  void end_all() { actors_.clear(); }

  bool all_alive();
  std::int64_t num_alive();
  bool anybody_stopped() const;
  void kill_all(double now_s, double away_s);
  enum class Whom { kAny, kAtWork };
  // False if nobody lives. kAtWork: one that has delivered something, if there is one.
  bool kill_one(Whom whom, FaultSchedule& schedule, double now_s);
  // The one that delivered last, whom the learner knows; false if nobody has.
  bool stop_one(double until_s);
  // Who is too many is asked to leave.
  void scale(std::size_t size);

 private:
  struct Actor {
    std::optional<ChildProcess> process;
    std::int64_t starts = 0;
    double start_at = 0;     // when it has no process
    double continue_at = 0;  // when it is stopped; 0: it is not
    bool killed = false;     // the process was, by us
    bool leaves = false;     // it was asked to, and is not started again
  };
  void start(std::size_t number);
  void notice_end(Actor& actor, ChildExit exit, double now_s);
  static bool is_alive(Actor& actor) { return actor.process && !actor.killed && !actor.process->poll(); }
  std::string acks_of(const Actor& actor) const;
  bool has_delivered(const Actor& actor) const;
  std::filesystem::file_time_type delivered_at(const Actor& actor) const { return std::filesystem::last_write_time(acks_of(actor)); }
  void kill(Actor& actor, double start_at_s);

  const Scenario& scenario_;
  const ChaosOptions& options_;
  const FaultyLink& link_;
  Counts& counts_;
  std::vector<Actor> actors_;
};

}  // namespace nabla::chaos
