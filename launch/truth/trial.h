#pragma once

#include "launch/truth/measurement.h"
#include "launch/truth/outcome.h"
#include "launch/truth/truth_case.h"

#include <functional>
#include <string>
#include <vector>

namespace nabla::truth {

// One thing to run: a case of a tier, or one of its controls.
struct Trial {
  std::string tier;
  Expectation expectation = Expectation::kHold;
  TruthCase problem;  // its name is the trial's, its seed the trial's
  // Fills checks and values, and exact and samples where there are any.
  std::function<void(const TruthCase& problem, Outcome& outcome)> measure;
  bool quick = false;  // part of the subset that every build runs
};

Outcome run_trial(const Trial& trial);

// Trains the case and holds what it measures against these thresholds; values and floors are filled in.
void measure_law(const TruthCase& problem, const std::vector<Check>& thresholds, Outcome& outcome);
// The same of what has been measured already.
void judge_law(const TruthCase& problem, const Measurement& measurement, const std::vector<Check>& thresholds, Outcome& outcome);

// The same case without flow network: what its forward-looking gradient alone reaches.
TruthCase fl_only(TruthCase problem);

// Trials of a case of someone's own: the case, and, where it names no threshold, the FL-only control that gives it one.
std::vector<Outcome> run_own_case(const TruthCase& problem);

// Identifies what a trial computes: everything that decides its numbers, as text.
std::string fingerprint(const Trial& trial);

}  // namespace nabla::truth
