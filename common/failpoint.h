#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nabla {

// Named places where a test build can be made to fail, and named faults that it can be made to have (docs/reliability.md). In other builds the
// calls are empty.
#ifdef NABLA_FAILPOINTS
inline constexpr bool kHasFailpoints = true;
#else
inline constexpr bool kHasFailpoints = false;
#endif

// Some places and bugs are of the fake learners and actors of the chaos harness alone, and would never come to anything in nabla.
enum class FailpointHost { kNabla, kChaos };

// Arms places and seeds bugs for the rest of this process, before other threads start: "place[:nth][:action]" and "bug:name", separated by commas. The nth
// time (from 1) that the place is reached the action happens, once: kill (SIGKILL, the default), exit (code 1, nothing is cleaned up), abort, error (an Error),
// delay:MS. usage_error on a name that `host` has not, on an action that there is not, and on any text where the build has no failpoints; nothing of such
// a text is armed. An empty text is fine.
void arm_failpoints(const std::string& text, FailpointHost host);

std::vector<std::string_view> failpoint_names(FailpointHost host);
std::vector<std::string_view> seeded_bug_names(FailpointHost host);

// What the inline functions below do in a build that has failpoints.
void reach_failpoint(std::string_view place);
bool is_failpoint_armed(std::string_view place);
bool is_bug_seeded(std::string_view bug);

inline void failpoint(std::string_view place) {
  if constexpr (kHasFailpoints) reach_failpoint(place);
}
// For a place that is only there when the work is done in smaller pieces.
inline bool failpoint_armed(std::string_view place) {
  if constexpr (kHasFailpoints) return is_failpoint_armed(place);
  return false;
}
// Whether the process is to have this bug: the chaos harness has to find it.
inline bool seeded_bug(std::string_view bug) {
  if constexpr (kHasFailpoints) return is_bug_seeded(bug);
  return false;
}

}  // namespace nabla
