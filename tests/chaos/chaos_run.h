#pragma once

#include "tests/chaos/checker.h"
#include "tests/chaos/comeback.h"
#include "tests/chaos/footprint.h"
#include "tests/chaos/scenario.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace nabla::chaos {

struct ChaosOptions {
  std::string program;                // the chaos program, which is learner and actor too
  std::string disk_shim, clock_shim;  // shared libraries
  std::string folder;                 // for the run; made anew
  std::uint64_t seed = 1;
  std::string bug;     // a seeded bug that learner and actors are to have; empty: none
  double hang_s = 30;  // nothing new in the log for so long is a finding; longer on a machine that gives this process less than its due
};

struct ChaosOutcome {
  std::string skipped;  // why it was not run; empty: it was
  double seconds = 0, longest_pause_s = 0;
  Counts happened;             // what befell it
  Comeback restarts, returns;  // of the first actor to a learner that started again; of all that were cut off
  Growth learner;              // of the learner, once a second
  CheckResult check;
  std::vector<Finding>
      findings;  // the checker's, and what was seen while it ran: hang, learner_failed, slow_stop, slow_restart, slow_return, no_fault
};

// Runs one scenario with processes of its own and judges what they left.
ChaosOutcome run_chaos(const Scenario& scenario, const ChaosOptions& options);

nlohmann::ordered_json json_of(const Scenario& scenario, const ChaosOptions& options, const ChaosOutcome& outcome);

}  // namespace nabla::chaos
