#pragma once

#include "learner/slot_plan.h"

#include <string>
#include <vector>

namespace nabla::testing {

// What a hostile peer sends in one message, and what must come of it: the name of the record's reject, of the answer's type, or "malformed" for
// messages that are dropped without an answer.
struct HostileMessage {
  std::string name;
  std::vector<std::string> frames;
  std::string expected;
};

// Everything that a peer which has said hello as `actor` can do wrong on the control socket, about slot 1 of the plan, whose ticket somebody else holds;
// slot 0 was accepted, slot 3 discarded, slot 9 never issued.
std::vector<HostileMessage> hostile_messages(const SlotPlan& plan, const std::string& actor);

}  // namespace nabla::testing
