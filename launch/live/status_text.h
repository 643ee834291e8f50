#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace nabla {

// The answer of GET /status as lines and tables for people. `fleet`: that of the supervisor's GET /fleet, or null where actors were started by hand.
std::string status_text(const nlohmann::ordered_json& status, const nlohmann::ordered_json& fleet);

}  // namespace nabla
