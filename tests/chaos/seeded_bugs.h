#pragma once

#include "tests/chaos/checker.h"
#include "tests/chaos/scenario.h"

#include <string>
#include <vector>

namespace nabla::chaos {

// A deliberate bug, the scenario that must find it, and the findings that say so: one of them is enough.
struct SeededBug {
  std::string name, what;
  Scenario scenario;
  std::vector<std::string> findings;
};
std::vector<SeededBug> seeded_bugs();
// How long nothing may happen in a run that has one; the pauses of their scenarios without a bug are far shorter.
inline constexpr double kBugHangS = 6;
bool finds(const SeededBug& bug, const std::vector<Finding>& findings);

}  // namespace nabla::chaos
