#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace nabla {

// Figures of a fleet under changes of its actors: real processes, the tiny model. Times are seen by asking the learner for its status again and again.

// A stretch of a run between two orders to scale it.
struct Stretch {
  std::string name;
  std::int64_t actors = 0;  // wanted
  double seconds = 0;
  std::int64_t updates = 0;    // finished in it
  double median_update_s = 0;  // between the ends of two updates
  double longest_update_s = 0;
  double longest_still_s = 0;  // in which no record came and no update ended
};

struct ScalingFigures {
  std::vector<std::int64_t> steps;  // actors
  std::vector<Stretch> stretches;   // two of each step but the first: until the fleet has its size, then at that size
  std::int64_t slots_per_update = 0, updates = 0, actors_seen = 0, residual = 0, discarded = 0, failed_attempts = 0, duplicates = 0;
  std::int64_t lost_slots = 0;  // of trained updates, without exactly one record in the log
  std::int64_t restarted = 0;
};
// E7. Trains `updates_each` updates at each size.
ScalingFigures measure_scaling(const std::vector<std::int64_t>& steps, std::int64_t updates_each);

struct DeathFigures {
  double noticed_s = 0;   // until the learner counts the actor out
  double reissued_s = 0;  // until its ticket is another's, or done
};
// E1. One of two actors gets the signal while it holds a ticket.
DeathFigures measure_death(int signal);

struct ReplacementFigures {
  double first_record_s = 0;  // from the start of the process to its first acknowledged record
  double loading_s = 0;       // of it: loading the model
};
// E2.
ReplacementFigures measure_replacement();

// "date" and "machine" of a measurement.
nlohmann::ordered_json measurement_heading();
nlohmann::ordered_json json_of(const ScalingFigures& figures);
double quantile(std::vector<double> values, double share);

}  // namespace nabla
