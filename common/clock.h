#pragma once

#include <chrono>

namespace nabla {

// Seconds on the clock that only goes forward; only differences mean something, and only within one machine's uptime.
inline double monotonic_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace nabla
