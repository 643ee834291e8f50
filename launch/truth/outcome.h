#pragma once

#include "common/diffusion/tensors.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace nabla::truth {

// The larger of two errors; one that is not a number is the largest.
inline double worse(double a, double b) { return a <= b || std::isnan(b) ? b : a; }

// What is asked of a trial: to hold its thresholds, or, of a control, to break the first with finite values.
enum class Expectation { kHold, kBreak };

enum class Bound { kAtMost, kAtLeast };

// A measured value and what it is held against. floor: what the scheme itself or chance leaves of it.
struct Check {
  std::string metric;
  double value = 0.0, threshold = 0.0;
  std::optional<double> floor;
  Bound bound = Bound::kAtMost;

  // False for a value that is not a number.
  bool holds() const { return bound == Bound::kAtMost ? value <= threshold : value >= threshold; }
};

// A trial that has run.
struct Outcome {
  std::string tier, name;
  std::uint64_t seed = 0;
  Expectation expectation = Expectation::kHold;
  std::vector<Check> checks;             // the first is the one that stands in tables
  std::map<std::string, double> values;  // everything that was measured
  nlohmann::ordered_json exact;          // the closed form, where there is one
  Tensor samples;                        // final states [M,d]; undefined where there are none
  double seconds = 0.0, cpu_seconds = 0.0;

  bool pass() const;
};

nlohmann::ordered_json to_json(const Outcome& outcome);
// One line for people.
std::string to_line(const Outcome& outcome);

}  // namespace nabla::truth
