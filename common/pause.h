#pragma once

#include <chrono>
#include <stop_token>

namespace nabla {

// Sleeps until then; returns early when stop is requested.
void pause_until(std::chrono::steady_clock::time_point end, const std::stop_token& stop);

}  // namespace nabla
