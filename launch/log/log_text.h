#pragma once

#include "protocol/log_check.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>

namespace nabla {

// "1.5 MiB"
std::string bytes_text(std::uint64_t bytes);
// Local time, "2026-01-31 14:25:00"; "-" for 0.
std::string time_text(std::int64_t unix_ms);
// "2 h 5 min", "12.3 s"
std::string duration_text(std::int64_t ms);

// What was wrong with a log, a line each.
std::string check_text(const LogCheck& check);
nlohmann::ordered_json check_json(const LogCheck& check);

}  // namespace nabla
