#pragma once

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

}  // namespace nabla::chaos
